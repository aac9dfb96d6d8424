package sftp

// Processes are those of the connection that is open.
func (s *Store) Processes() []int {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	if s.link.conn == nil {
		return nil
	}
	return []int{s.link.conn.process.PID()}
}
