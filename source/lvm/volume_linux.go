package lvm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// The tags of a snapshot volume.
const (
	ownerTag  = "tarn.owner"
	originTag = "tarn.origin"
)

// Thick snapshots.
const (
	shareDefault = 20               // percent of the origin
	roomMin      = 32 << 20         // bytes
	shareLeast   = 25               // percent of the room wanted that must be free at least
	poolFullest  = 95               // percent of a thin pool, beyond which no snapshot is made in it
	folderLegacy = "/run/tarn/held" // where a snapshot is mounted if it can't be mounted nowhere
)

// mountOptions returns the options with which a snapshot of a file system may mount, to be tried in turn. It is nil for file systems that
// the device mapper does not freeze, or that must not be there twice, as Btrfs.
func mountOptions(fsType string) [][]string {
	switch fsType {
	case "ext2", "ext3", "ext4":
		return [][]string{{}}
	case "xfs":
		return [][]string{{"nouuid"}, {"nouuid", "norecovery"}}
	}
	return nil
}

// room returns the extents for a thick snapshot of origin.
func (p Provider) room(origin volume) (extents uint64, err error) {
	if origin.ExtentSize == 0 {
		return 0, errors.New("the volume group has no extent size")
	}
	share := p.Share
	if share <= 0 {
		share = shareDefault
	}
	size := max(origin.Size/100*uint64(min(share, 110)), roomMin)
	want := (size + origin.ExtentSize - 1) / origin.ExtentSize
	if origin.FreeExtents < max(want*shareLeast/100, 1) {
		return 0, fmt.Errorf("volume group %s has %s free, of %s wanted for a snapshot", origin.Group,
			sizeText(origin.FreeExtents*origin.ExtentSize), sizeText(want*origin.ExtentSize))
	}
	return min(want, origin.FreeExtents), nil
}

// sizeText returns a number of bytes for people.
func sizeText(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// doubt says why v is not proven to be a snapshot by tarn; empty if it is.
func doubt(v volume) string {
	name, err := fssnap.ParseName(v.Name)
	if err != nil {
		return "its name is not one of tarn's"
	}
	origin := v.tag(originTag)
	named, err := fssnap.NewName(fssnap.Request{Repository: name.Repository, Session: name.Session}, origin)
	switch {
	case v.tag(ownerTag) == "" || origin == "":
		return "it has no tags of tarn's"
	case v.Origin == "" || v.OriginUUID == "":
		return "it is not a snapshot of anything any more"
	case v.OriginUUID != origin:
		return "it is a snapshot of another volume than its tag says"
	case err != nil || named != name:
		return "its name was made for another origin than its tag says"
	case v.OriginUUID == v.UUID:
		return "it is its own origin"
	}
	return ""
}

// proof selects the volume v if it is still what doubt found no fault with.
func proof(v volume) string {
	return fmt.Sprintf("%s && lv_uuid=%q && origin_uuid=%q && lv_tags=%q && lv_tags=%q", named(v.Group, v.Name), v.UUID, v.OriginUUID,
		ownerTag+"="+v.tag(ownerTag), originTag+"="+v.OriginUUID)
}

// uuidOf returns the UUID of a logical volume from the name that the device mapper has for it: "LVM-", the group's, the volume's.
func uuidOf(mapper string) (string, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(mapper), "LVM-")
	if !ok || len(rest) != 64 {
		return "", false
	}
	var parts []string
	rest = rest[32:]
	for _, n := range []int{6, 4, 4, 4, 4, 4, 6} {
		parts = append(parts, rest[:n])
		rest = rest[n:]
	}
	return strings.Join(parts, "-"), !slices.Contains(parts, "")
}
