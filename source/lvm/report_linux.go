package lvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// fields are what is asked of lvs about each volume.
const fields = "vg_name,lv_name,lv_uuid,lv_attr,lv_size,lv_tags,origin,origin_uuid,pool_lv,data_percent,metadata_percent," +
	"snap_percent,lv_snapshot_invalid,lv_health_status,lv_dm_path,lv_kernel_major,lv_kernel_minor,vg_extent_size,vg_free_count"

// volume is what lvs reports of a logical volume.
type volume struct {
	Group       string
	Name        string
	UUID        string
	Attr        string
	Size        uint64 // bytes
	Tags        []string
	Origin      string // the name of the volume that it is a snapshot of
	OriginUUID  string
	Pool        string  // the name of the thin pool that it lies in
	Data        float64 // percent used, of a pool
	Metadata    float64 // percent used, of a pool
	Snap        float64 // percent used, of a thick snapshot's room
	Invalid     bool    // a thick snapshot that has overflowed
	Health      string  // empty if there is nothing to tell
	Path        string  // of its device
	Major       int     // of its device, -1 if it isn't active
	Minor       int
	ExtentSize  uint64 // bytes, of the group
	FreeExtents uint64 // of the group
}

// full returns the name that LVM's commands take.
func (v volume) full() string { return v.Group + "/" + v.Name }

// tag returns the value of the tag KEY=VALUE, empty if there is none or more than one.
func (v volume) tag(key string) (value string) {
	found := 0
	for _, t := range v.Tags {
		if rest, ok := strings.CutPrefix(t, key+"="); ok {
			value = rest
			found++
		}
	}
	if found != 1 {
		return ""
	}
	return value
}

// parseReport reads the answer of lvs --reportformat json.
func parseReport(data []byte) ([]volume, error) {
	var report struct {
		Report []struct {
			LV []map[string]string `json:"lv"`
		} `json:"report"`
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, fmt.Errorf("read the report of lvs: %w", err)
	}
	var list []volume
	for _, r := range report.Report {
		for _, row := range r.LV {
			v, err := parseVolume(row)
			if err != nil {
				return nil, fmt.Errorf("read the report of lvs: volume %q: %w", row["lv_name"], err)
			}
			list = append(list, v)
		}
	}
	return list, nil
}

func parseVolume(row map[string]string) (volume, error) {
	var errs error
	number := func(key string) uint64 {
		n, err := strconv.ParseUint(row[key], 10, 64)
		errs = errors.Join(errs, wrap(key, err))
		return n
	}
	device := func(key string) int {
		n, err := strconv.Atoi(row[key])
		errs = errors.Join(errs, wrap(key, err))
		return n
	}
	percent := func(key string) float64 {
		if row[key] == "" { // of a volume that has no such figure
			return 0
		}
		n, err := strconv.ParseFloat(row[key], 64)
		errs = errors.Join(errs, wrap(key, err))
		return n
	}
	v := volume{
		Group: row["vg_name"], Name: row["lv_name"], UUID: row["lv_uuid"], Attr: row["lv_attr"], Size: number("lv_size"),
		Origin: row["origin"], OriginUUID: row["origin_uuid"], Pool: row["pool_lv"],
		Data: percent("data_percent"), Metadata: percent("metadata_percent"), Snap: percent("snap_percent"),
		Invalid: row["lv_snapshot_invalid"] == "1", Health: row["lv_health_status"], Path: row["lv_dm_path"],
		Major: device("lv_kernel_major"), Minor: device("lv_kernel_minor"),
		ExtentSize: number("vg_extent_size"), FreeExtents: number("vg_free_count"),
	}
	if tags := row["lv_tags"]; tags != "" {
		v.Tags = strings.Split(tags, ",")
	}
	if v.Group == "" || v.Name == "" || v.UUID == "" {
		errs = errors.Join(errs, errors.New("no name or UUID"))
	}
	return v, errs
}

func wrap(key string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// volumes lists the volumes that a selection of LVM's names.
func volumes(ctx context.Context, selection string) ([]volume, error) {
	out, err := fssnap.Query(ctx, "lvs", "--reportformat", "json", "--binary", "--units", "b", "--nosuffix", "-o", fields, "-S", selection)
	if err != nil {
		return nil, err
	}
	return parseReport(out)
}

// volumeOf returns the one volume that a selection names. Errors wrap errNone if there is none.
func volumeOf(ctx context.Context, selection string) (volume, error) {
	list, err := volumes(ctx, selection)
	switch {
	case err != nil:
		return volume{}, err
	case len(list) == 0:
		return volume{}, fmt.Errorf("%w with %s", errNone, selection)
	case len(list) > 1:
		return volume{}, fmt.Errorf("%d volumes with %s", len(list), selection)
	}
	return list[0], nil
}

var errNone = errors.New("no volume")

// named selects the volume with an exact name.
func named(group, name string) string {
	return fmt.Sprintf("vg_name=%q && lv_name=%q", group, name)
}
