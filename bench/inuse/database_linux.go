package inuse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

const (
	accounts = 200
	balance  = 1000 // of each account in the beginning
)

// database moves money between accounts, by way of the program sqlite3.
type database struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func newDatabase(path string, k Kind) (*database, error) {
	cmd := exec.Command("sqlite3", "-batch", "-bail", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start sqlite3: %w", err)
	}
	d := &database{cmd, in, bufio.NewReader(out)}
	mode := "delete"
	if k == SQLiteWL {
		mode = "wal"
	}
	err = d.ask(fmt.Sprintf(`.timeout 20000
pragma journal_mode=%s; pragma synchronous=normal; pragma cache_size=20;
create table account(id integer primary key, balance int, pad blob);
with recursive n(i) as (select 0 union all select i+1 from n where i<%d) insert into account select i, %d, randomblob(1500) from n;`,
		mode, accounts-1, balance))
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// ask runs statements and waits until they are done.
func (d *database) ask(statements string) error {
	const done = "@done"
	if _, err := fmt.Fprintf(d.in, "%s\nselect '%s';\n", statements, done); err != nil {
		return fmt.Errorf("write to sqlite3: %w", err)
	}
	var said strings.Builder
	for {
		line, err := d.out.ReadString('\n')
		if strings.TrimSpace(line) == done {
			return nil
		}
		said.WriteString(line)
		if err != nil {
			return fmt.Errorf("sqlite3: %w: %s", err, said.String())
		}
	}
}

func (d *database) save(gen uint64) error {
	var b strings.Builder
	b.WriteString("begin immediate;\n")
	for i := range 10 {
		from, to, amount := (gen*7+uint64(i)*13)%accounts, (gen*11+uint64(i)*17)%accounts, gen%50
		fmt.Fprintf(&b, "update account set balance=balance-%d, pad=randomblob(1500) where id=%d;\n", amount, from)
		fmt.Fprintf(&b, "update account set balance=balance+%d, pad=randomblob(1500) where id=%d;\n", amount, to)
	}
	b.WriteString("commit;")
	return d.ask(b.String())
}

func (d *database) close() error {
	return errors.Join(d.in.Close(), d.cmd.Wait())
}

// auditDatabase says what is wrong with a restored database, if anything is.
func auditDatabase(ctx context.Context, path string) string {
	out, err := exec.CommandContext(ctx, "sqlite3", "-batch", "-bail", path,
		"pragma integrity_check; select count(*), sum(balance) from account;").CombinedOutput()
	said := strings.Join(strings.Fields(string(out)), " ")
	switch want := fmt.Sprintf("ok %d|%d", accounts, accounts*balance); {
	case said == want && err == nil:
		return ""
	case said == "":
		return fmt.Sprintf("sqlite3: %v", err)
	}
	return said
}
