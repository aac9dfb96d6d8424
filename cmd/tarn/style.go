package main

// Colours, for terminals.

func (s *stream) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *stream) bold(text string) string   { return s.paint("1", text) }
func (s *stream) red(text string) string    { return s.paint("31", text) }
func (s *stream) green(text string) string  { return s.paint("32", text) }
func (s *stream) yellow(text string) string { return s.paint("33", text) }
