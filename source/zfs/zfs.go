package zfs

import "time"

// Margin is how long before the request for the snapshot a file's last change must be for the snapshot to be trusted with it.
const Margin = time.Second

// Provider makes snapshots of ZFS datasets. Its zero value is ready.
type Provider struct{}
