package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// How long a program has until its mount is there, and how often that is looked at.
const (
	mountPatience = 2 * time.Minute
	mountLook     = 10 * time.Millisecond
)

// mounted measures find or tar over a mount: the time is theirs, processor time and memory are theirs and the program's that serves.
func (r *round) mounted(ctx context.Context, step Step) (Usage, error) {
	if err := r.suite.canMount(); err != nil {
		return Usage{}, err
	}
	args, root := r.peer.mount(r.place)
	var said tail
	c := Command{Args: append([]string{r.peer.program}, args...), Env: r.peer.env(r.place)}
	server := c.command(ctx, &said)
	if err := server.Start(); err != nil {
		return Usage{}, fmt.Errorf("start %s: %w", c.Args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	defer stop(server, r.place.Mount, ended)
	if err := awaitMount(ctx, root, ended); err != nil {
		return Usage{}, fmt.Errorf("%w: %s", err, said.String())
	}
	before, _, err := running(server.Process.Pid)
	if err != nil {
		return Usage{}, err
	}
	client := Command{Args: append([]string{"find"}, findOf(root)[0].args...)}
	if step == MountTar {
		client = Command{Args: append([]string{"tar"}, tarOf(root)[0].args...), Stdout: discard{}}
	}
	u, err := Measure(ctx, client)
	after, peak, gone := running(server.Process.Pid)
	if err == nil {
		err = gone
	}
	u.CPUSeconds += (after - before).Seconds()
	u.Memory = peak
	return u, err
}

// canMount says what is missing, if anything.
func (s *suite) canMount() error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("this machine has no FUSE: %w", err)
	}
	return nil
}

func awaitMount(ctx context.Context, root string, ended chan error) error {
	deadline := time.After(mountPatience)
	for {
		if exists(root) {
			return nil
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("the mount ended: %w", err)
		case <-deadline:
			return fmt.Errorf("no %s after %v", root, mountPatience)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(mountLook):
		}
	}
}

// stop ends a mount and waits for its program.
func stop(server *exec.Cmd, dir string, ended <-chan error) {
	unmount(dir)
	select {
	case <-ended:
	case <-time.After(stopDelay):
		server.Process.Kill() // it is there: nobody has waited for it
		<-ended
	}
}

// unmount ends a mount, whoever may use it still.
func unmount(dir string) {
	for _, args := range [][]string{{"umount", dir}, {"fusermount3", "-u", dir}, {"umount", "-l", dir}, {"fusermount3", "-uz", dir}} {
		if exec.Command(args[0], args[1:]...).Run() == nil {
			return
		}
	}
}
