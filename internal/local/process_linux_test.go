package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

func init() { children["fill"] = fill }

const cannotMount = 7

// fill makes the ledger's folder a disk of 1 MB and writes until it is full.
func fill(path string) error {
	if err := syscall.Mount("tmpfs", filepath.Dir(path), "tmpfs", 0, "size=1m"); err != nil {
		fmt.Println("mount:", err)
		os.Exit(cannotMount)
	}
	store, err := local.OpenStore(context.Background(), path)
	if err != nil {
		return err
	}
	record := func(i int) ledger.Record {
		return ledger.Record{Kind: "rotation", ID: fmt.Sprint(i), Keys: []string{"key"}, Data: make([]byte, 20<<10)}
	}
	written := 0
	for ; err == nil && written < 1000; written++ {
		err = store.Put(context.Background(), record(written))
	}
	written--
	fmt.Println(err)
	_ = store.Close()

	// What was written is there, and can be read with the disk still full.
	if store, err = local.OpenStore(context.Background(), path); err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	found, err := store.ByKey(context.Background(), "rotation", "key")
	if err != nil || len(found) != written {
		return fmt.Errorf("of %d records %d are there: %w", written, len(found), err)
	}
	_ = store.Close()
	full := filepath.Join(filepath.Dir(path), "another.db")
	_ = os.WriteFile(full+".filler", make([]byte, 1<<20), 0o600)
	_, err = local.OpenStore(context.Background(), full)
	fmt.Println("another:", err)
	if _, err := os.Stat(full); !os.IsNotExist(err) {
		return errors.New("half a ledger was created")
	}
	return nil
}

func TestFullDiskIsAnErrorAndLosesNothing(t *testing.T) {
	c := child(t, "fill", filepath.Join(t.TempDir(), "ledger.db"))
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || c.ProcessState != nil && c.ProcessState.ExitCode() == cannotMount {
		t.Skipf("a small disk cannot be made here: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n := strings.Count(string(out), "the disk is full"); n != 2 {
		t.Errorf("%d of 2 errors say that the disk is full:\n%s", n, out)
	}
}

func TestReadOnlyLedgerIsAnErrorThatSaysSo(t *testing.T) {
	folder, err := os.MkdirTemp("", "keyturn-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path := filepath.Join(folder, "ledger.db")
	if err := openStore(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what         string
		folder, file os.FileMode
		want         string
	}{
		{"the file", 0o777, 0o444, "is read-only for this user"},
		{"the file and the folder", 0o555, 0o444, "is read-only for this user"},
		{"the folder", 0o555, 0o666, "is read-only for this user"},
		{"neither, and the file cannot be read", 0o777, 0o000, "cannot be opened"},
	} {
		if err := errors.Join(os.Chmod(path, row.file), os.Chmod(folder, row.folder)); err != nil {
			t.Fatal(err)
		}
		c := child(t, "put", path)
		if os.Getuid() == 0 { // root may write to everything
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			c.Path = publicCopy(t, c.Path)
		}
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), row.want) || !strings.Contains(string(out), path) {
			t.Errorf("read-only is %s: error %v, output %q; want one that says %q", row.what, err, out, row.want)
		}
	}
}

// publicCopy is a copy of the program that every user may run.
func publicCopy(t *testing.T, program string) string {
	t.Helper()
	source, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	folder, err := os.MkdirTemp("", "keyturn-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	target, err := os.OpenFile(filepath.Join(folder, "child"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err == nil {
		_, err = io.Copy(target, source)
	}
	if err := errors.Join(err, target.Close(), os.Chmod(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	return target.Name()
}
