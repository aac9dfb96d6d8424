// Package servers starts the real servers that the storage adapters are tested against, on loopback, each for one test: an S3 server (versitygw), restic's
// rest-server, and OpenSSH's sshd. Proxies stand in front of them to make them slow, or bad.
//
// versitygw and rest-server are built from the module testing/tools, by "go tool -n". sshd and rclone are Debian's; testing/deps.sh
// installs them. Where one can't be had the test is skipped with the command that installs it, but not for root on Linux, since CI is that.
package servers
