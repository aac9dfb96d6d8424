//go:build linux

package lvm_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-backup/tarn/source/fssnap"
	"github.com/tarn-backup/tarn/source/lvm"
)

// report is what lvs 2.03.16 says of a thick snapshot that has overflowed.
const report = `  {
      "report": [
          {
              "lv": [
                  {"vg_name":"vg", "lv_name":"snap", "lv_uuid":"uuid-s", "lv_attr":"swi-I-s---", "lv_size":"335544320", "lv_tags":"tarn.a=1,x", "origin":"origin", "origin_uuid":"uuid-o", "pool_lv":"", "data_percent":"100.00", "metadata_percent":"", "snap_percent":"100.00", "lv_snapshot_invalid":"1", "lv_health_status":"", "lv_dm_path":"/dev/mapper/vg-snap", "lv_kernel_major":"253", "lv_kernel_minor":"3", "vg_extent_size":"4194304", "vg_free_count":"71"}
              ]
          }
      ]
  }
`

func TestParseReport(t *testing.T) {
	got, err := lvm.ParseReport([]byte(report))
	if err != nil {
		t.Fatal(err)
	}
	want := []lvm.Volume{{Group: "vg", Name: "snap", UUID: "uuid-s", Attr: "swi-I-s---", Size: 335544320, Tags: []string{"tarn.a=1", "x"},
		Origin: "origin", OriginUUID: "uuid-o", Data: 100, Snap: 100, Invalid: true, Path: "/dev/mapper/vg-snap", Major: 253, Minor: 3,
		ExtentSize: 4194304, FreeExtents: 71}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for what, bad := range map[string]string{
		"nothing":        "",
		"half":           report[:len(report)/2],
		"a bad size":     strings.Replace(report, `"335544320"`, `"320m"`, 1),
		"a bad percent":  strings.Replace(report, `"snap_percent":"100.00"`, `"snap_percent":"full"`, 1),
		"a missing name": strings.Replace(report, `"lv_name":"snap"`, `"lv_name":""`, 1),
		"a missing key":  strings.Replace(report, `"vg_free_count"`, `"free"`, 1),
	} {
		if got, err := lvm.ParseReport([]byte(bad)); err == nil {
			t.Errorf("%s is read as %+v", what, got)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte(report))
	f.Add([]byte(`{"report":[{"lv":[{}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := lvm.ParseReport(data)
		if err != nil {
			return
		}
		for _, v := range list {
			if v.UUID == "" || v.Name == "" || v.Group == "" {
				t.Errorf("a volume without a name or UUID: %+v", v)
			}
		}
	})
}

func TestDoubt(t *testing.T) {
	name, err := fssnap.NewName(fssnap.Request{Repository: "0badcafe", Session: strings.Repeat("0", 32)}, "uuid-o")
	if err != nil {
		t.Fatal(err)
	}
	ours := lvm.Volume{Name: name.String(), UUID: "uuid-s", Origin: "root", OriginUUID: "uuid-o", Tags: []string{"x", "tarn.owner=1", "tarn.origin=uuid-o"}}
	if why := lvm.Doubt(ours); why != "" {
		t.Errorf("ours is doubted: %s", why)
	}
	for what, change := range map[string]func(v *lvm.Volume){
		"the origin itself":     func(v *lvm.Volume) { v.Name = "root" },
		"no tags":               func(v *lvm.Volume) { v.Tags = nil },
		"no owner":              func(v *lvm.Volume) { v.Tags = v.Tags[2:] },
		"two origins":           func(v *lvm.Volume) { v.Tags = append(v.Tags, "tarn.origin=uuid-x") },
		"no snapshot":           func(v *lvm.Volume) { v.Origin, v.OriginUUID = "", "" },
		"another origin":        func(v *lvm.Volume) { v.OriginUUID = "uuid-x" },
		"its own origin":        func(v *lvm.Volume) { v.UUID = "uuid-o" },
		"another origin's name": func(v *lvm.Volume) { v.Name = v.Name[:len(v.Name)-8] + "00000000" },
	} {
		v := ours
		v.Tags = append([]string(nil), ours.Tags...)
		change(&v)
		if lvm.Doubt(v) == "" {
			t.Errorf("%s is not doubted", what)
		}
	}
}

func TestRoom(t *testing.T) {
	const extent = 4 << 20
	for _, c := range []struct {
		share      int
		size, free uint64
		want       uint64 // extents, 0 for an error
	}{
		{0, 100 << 30, 1 << 20, 20 << 30 / extent},           // a fifth
		{50, 100 << 30, 1 << 20, 50 << 30 / extent},          // as asked
		{0, 100 << 30, 2000, 2000},                           // what there is
		{0, 100 << 30, 1000, 0},                              // too little
		{0, 64 << 20, 1 << 20, 8},                            // the least
		{1000, 1 << 30, 1 << 20, (1<<30)/100*110/extent + 1}, // no more than could ever be needed
		{0, 64 << 20, 0, 0},
	} {
		got, err := lvm.Provider{Share: c.share}.Room(lvm.Volume{Group: "vg", Size: c.size, FreeExtents: c.free, ExtentSize: extent})
		if got != c.want && err == nil || (err != nil) != (c.want == 0) {
			t.Errorf("%+v: %d extents, %v", c, got, err)
		}
	}
}

func TestUUIDOf(t *testing.T) {
	const group = "0123456789abcdefghijABCDEFGHIJ01"
	got, ok := lvm.UUIDOf("LVM-" + group + "abcdefghijklmnopqrstuvwxyz012345\n")
	if !ok || got != "abcdef-ghij-klmn-opqr-stuv-wxyz-012345" {
		t.Errorf("%q %v", got, ok)
	}
	for _, other := range []string{"", "CRYPT-LUKS2-" + group, "LVM-" + group, "LVM-" + group + "abcdefghijklmnopqrstuvwxyz012345-real"} {
		if got, ok := lvm.UUIDOf(other); ok {
			t.Errorf("%q is taken for volume %s", other, got)
		}
	}
}

// TestPlanElsewhere: what is not on LVM is none of its business, or is said not to be.
func TestPlanElsewhere(t *testing.T) {
	for fsType, want := range map[string]string{"tmpfs": "", "btrfs": "", "ext4": "ext4 on /dev/x, not on a volume of LVM: no snapshots here"} {
		plan := lvm.Provider{}.Plan(t.Context(), fssnap.Mount{FSType: fsType, Device: "/dev/x", Point: "/"}, "/")
		if plan.Kind != fssnap.None || plan.Why != want {
			t.Errorf("%s: %+v", fsType, plan)
		}
	}
}

// ExampleProvider_Take holds what lies on a logical volume, reads it, and asks afterwards whether the snapshot lived that long.
func ExampleProvider_Take() {
	backup := func(ctx context.Context, mount fssnap.Mount) error {
		request := fssnap.Request{Mount: mount, Repository: "0badcafe", Session: strings.Repeat("0", 32)}
		held, err := lvm.Provider{Share: 10}.Take(ctx, request)
		if err != nil {
			return err
		}
		defer held.Release(ctx)
		// ... read below held.Path(mount.Point) ...
		return held.Valid(ctx)
	}
	fmt.Println(backup(context.Background(), fssnap.Mount{Point: "/mnt", FSType: "btrfs"}))
	// Output: lvm: hold /mnt: no snapshots of btrfs on LVM
}
