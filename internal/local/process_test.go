package local_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

// childVariable, in the environment, makes the test binary another process that uses a ledger: its value names what it does, the
// first argument the ledger.
const childVariable = "KEYTURN_TEST_CHILD"

func TestMain(m *testing.M) {
	role := os.Getenv(childVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := children[role](os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

var children = map[string]func(path string) error{
	"count": count,
	"write": writeOn,
	"put": func(path string) error {
		store, err := local.OpenStore(context.Background(), path)
		if err == nil {
			err = errors.Join(store.Put(context.Background(), ledger.Record{Kind: "rotation", ID: "new"}), store.Close())
		}
		return err
	},
}

// child prepares a process that plays the role on the ledger.
func child(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, path)
	c.Env = append(os.Environ(), childVariable+"="+role)
	return c
}

const countTo = 150

// count adds to the shared counter until it has added countTo times. It opens the ledger again every now and then.
func count(path string) error {
	for range countTo / 50 {
		store, err := local.OpenStore(context.Background(), path)
		if err != nil {
			return err
		}
		for range 50 {
			if err := increment(store); err != nil {
				return err
			}
		}
		if err := store.Close(); err != nil {
			return err
		}
	}
	return nil
}

func increment(store ledger.Store) error {
	for {
		r, err := store.Get(context.Background(), "rotation", "counter")
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(string(r.Data))
		r.Data, r.Keys = []byte(strconv.Itoa(n+1)), []string{fmt.Sprint("key-", n%7)}
		if err := store.Put(context.Background(), r); !errors.Is(err, ledger.ErrConflict) {
			return err
		}
	}
}

func TestProcessesLoseNoUpdateOfEachOther(t *testing.T) {
	const processes = 4
	path := filepath.Join(t.TempDir(), "ledger.db")
	ended := make(chan error)
	for range processes {
		c := child(t, "count", path) // the first of them creates the ledger
		go func() {
			out, err := c.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			ended <- err
		}()
	}
	for range processes {
		if err := <-ended; err != nil {
			t.Errorf("a process failed: %v", err)
		}
	}
	r, err := openStore(t, path).Get(t.Context(), "rotation", "counter")
	if want := strconv.Itoa(processes * countTo); err != nil || string(r.Data) != want || fmt.Sprint(r.Version) != want {
		t.Errorf("%d processes counted to %s in %d writes (error %v), want %s", processes, r.Data, r.Version, err, want)
	}
}

// writeOn writes records until it is killed, and prints the version of each that was written.
func writeOn(path string) error {
	store, err := local.OpenStore(context.Background(), path)
	if err != nil {
		return err
	}
	r, err := store.Get(context.Background(), "rotation", "large")
	for ; err == nil; r.Version++ {
		r.Data = make([]byte, 200<<10)
		copy(r.Data, strconv.FormatInt(r.Version+1, 10)+" ")
		r.Keys = []string{fmt.Sprint("key-", r.Version)}
		if err = store.Put(context.Background(), r); err == nil {
			fmt.Println(r.Version + 1)
		}
	}
	return err
}

func TestKilledProcessLeavesALedgerThatOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	for round := range 8 {
		c := child(t, "write", path)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		var last string
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			last = lines.Text()
			if n == 3+round*5 {
				if err := c.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = c.Wait()
		reported, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			t.Fatalf("the process printed %q", last)
		}
		store := openStore(t, path)
		r, err := store.Get(t.Context(), "rotation", "large")
		if err != nil || r.Version < reported || r.Version > reported+1 || !strings.HasPrefix(string(r.Data), fmt.Sprint(r.Version, " ")) {
			t.Errorf("after version %d was reported the ledger has version %d, error %v", reported, r.Version, err)
		}
		found, err := store.ByKey(t.Context(), "rotation", fmt.Sprint("key-", r.Version-1))
		if err != nil || len(found) != 1 {
			t.Errorf("by its key %d records are found, error %v; want the one", len(found), err)
		}
		if round%2 == 0 { // else the next process finds what the killed one left beside it
			_ = store.Close()
		}
	}
}
