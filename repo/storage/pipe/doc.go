// Package pipe runs a program whose standard input and output are a connection: ssh, or rclone serve.
//
// The program gets a process group of its own, where the system knows them, so that Ctrl-C on the terminal ends tarn's work and not the connection that tarn needs
// to bring it to a good end. What it prints to standard error is kept, as far as its last lines, and explains why it went away.
//
// A [Process] is closed by closing its input, then by killing it. It never outlives Close.
package pipe
