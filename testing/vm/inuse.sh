# Runs in the machine, beside the programs tarn and inuse: bench/inuse on a logical volume of each kind, with each file system. Flags are inuse's.
# Without the kinds that take sqlite3, which the machine does not have.
set -euo pipefail
truncate -s 900M /tmp/image
device=$(losetup -f --show /tmp/image)
vgcreate -q use "$device" > /dev/null
status=0
for kind in thick thin; do
  for type in ext4 xfs; do
    if [ $kind = thin ]; then
      lvcreate -q -T -L 480M use/pool > /dev/null
      lvcreate -q -V 320M -T use/pool -n origin > /dev/null
    else
      lvcreate -q -Wn -L 320M -n origin use > /dev/null
    fi
    mkfs.$type -q /dev/use/origin
    mount -t $type /dev/use/origin /mnt
    echo "== $kind $type"
    ./inuse -dir /mnt -scratch /tmp -tarn ./tarn -tarn-flags '--fs-snapshot required' -kinds inplace,truncate,rename,append,mmap,pair,move \
      -notes "$@" tarn || status=1
    umount /mnt
    left=$(lvs --noheadings -o lv_name use | tr -d ' ' | grep -v -x -e origin -e pool || true)
    [ -z "$left" ] || { echo "volumes left: $left"; status=1; }
    vgremove -q --force --yes use > /dev/null
    vgcreate -q use "$device" > /dev/null
  done
done
exit $status
