package repo

import (
	"strings"

	"github.com/tarn-backup/tarn/blob"
)

// Folders of a repository.
const (
	configName   = "config"
	keysDir      = "keys/"
	dataDir      = "data/"
	indexDir     = "index/"
	snapshotsDir = "snapshots/"
	sessionsDir  = "sessions/"
	evictionsDir = "evictions/"
	trashDir     = "trash/"
	waitDir      = "wait/" // the lists of sessions that pruners wait for
	looksDir     = "looks/"
	settingsDir  = "settings/"
	objectMax    = 64 << 20 // bytes of any object that is read whole and is no pack
	sessionMax   = 64 << 10
	// snapshotSizeMin is the least stored size of a snapshot in bytes: there may be many, and of one longer than this its length tells no
	// more than how much there is to say of it, to an eighth.
	snapshotSizeMin = 4 << 10
	configSizeMax   = 64 << 10
)

func packName(n blob.Name) string        { s := n.String(); return dataDir + s[:2] + "/" + s }
func indexName(n blob.Name) string       { return indexDir + n.String() }
func snapshotName(n blob.Name) string    { return snapshotsDir + n.String() }
func keyName(n blob.Name) string         { return keysDir + n.String() }
func trashName(n blob.Name) string       { return trashDir + n.String() }
func waitName(n blob.Name) string        { return waitDir + n.String() }
func evictionName(s blob.Session) string { return evictionsDir + s.String() }
func sessionName(s blob.Session) string  { return sessionsDir + s.String() }

// base is the last part of an object's name.
func base(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
