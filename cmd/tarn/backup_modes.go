package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tarn-backup/tarn/source"
)

// snapshotModes is the value of --fs-snapshot: a mode for all that is saved, and others for some folders.
type snapshotModes struct {
	all   source.Mode
	below map[string]source.Mode
}

// Set reads MODE or FOLDER=MODE, for pflag.
func (s *snapshotModes) Set(text string) error {
	at := strings.LastIndexByte(text, '=')
	mode, err := source.ParseMode(text[at+1:])
	if err != nil {
		return errors.New("want off, auto, on or required, or one of them behind FOLDER=")
	}
	if at < 0 {
		s.all = mode
		return nil
	}
	if at == 0 {
		return fmt.Errorf("want FOLDER=%s", mode)
	}
	if s.below == nil {
		s.below = map[string]source.Mode{}
	}
	s.below[absolute(text[:at])] = mode
	return nil
}

func (s *snapshotModes) String() string { return s.all.String() }

// Type names the flag's value in the help.
func (s *snapshotModes) Type() string { return "MODE" }
