package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// An item says its form. One of the form before is read and written on in the new one; one of a later form is left as it is.
func TestItems_ofALaterForm_areNeitherReadNorWritten(t *testing.T) {
	write := func(l *ledger.Ledger) error {
		_, err := l.UpdateCluster(t.Context(), "c-1", func(c *ledger.Cluster) error { c.Cluster.Name = "orders"; return nil })
		return err
	}
	store := cmektest.NewStore()
	l := newLedger(store, 1)
	if err := write(l); err != nil {
		t.Fatal(err)
	}
	r, err := store.Get(t.Context(), "rotation", "cluster#c-1")
	if err != nil || !bytes.HasPrefix(r.Data, []byte(`{"format":3,`)) {
		t.Fatalf("the item is stored as %s (error %v), want it to say its form first", r.Data, err)
	}
	current := r.Data
	for _, row := range []struct {
		data  string
		newer bool
	}{
		{string(current), false},
		{strings.Replace(string(current), `"format":3,`, ``, 1), false}, // of the form before
		{strings.Replace(string(current), `"format":3,`, `"format":1,`, 1), false},
		{strings.Replace(string(current), `"format":3,`, `"format":4,`, 1), true},
		{strings.Replace(string(current), `"format":3,`, `"format":40000000000000000000,`, 1), true},
		{strings.Replace(string(current), `"format":3,`, `"format":"3",`, 1), true},
		{`{"format":4}`, true},
		{strings.TrimSuffix(string(current), "}") + `,"another":{"format":4}}`, false},
	} {
		stored, err := store.Get(t.Context(), "rotation", "cluster#c-1")
		if err != nil {
			t.Fatal(err)
		}
		stored.Data = []byte(row.data)
		if err := store.Put(t.Context(), stored); err != nil {
			t.Fatal(err)
		}
		err = write(l)
		if errors.Is(err, ledger.ErrNewer) != row.newer || row.newer && (!errors.Is(err, ledger.ErrUndecodable) || !strings.Contains(err.Error(), "rotation/cluster#c-1")) {
			t.Errorf("writing over %.60s…: error %v; want it refused: %t", row.data, err, row.newer)
		}
		after, err := store.Get(t.Context(), "rotation", "cluster#c-1")
		if err != nil || row.newer && !bytes.Equal(after.Data, []byte(row.data)) || !row.newer && !bytes.Equal(after.Data, current) {
			t.Errorf("after writing over %.60s… the store has %s (error %v)", row.data, after.Data, err)
		}
	}
}

// Every kind of item is of the form, also one that is packed, and what stands beside the items of later forms is read.
func TestItems_allKinds_sayTheirForm(t *testing.T) {
	store := cmektest.NewStore()
	l := newLedger(store, 1)
	long := make([]string, 3000)
	for i := range long {
		long[i] = fmt.Sprintf("reason %d: %x", i, i*7919)
	}
	packed := func(c *ledger.Cluster) error {
		c.NextLook = noon
		for _, text := range long {
			c.Dropped = append(c.Dropped, ledger.Dropped{Region: "us-east-1", At: noon, Reason: text})
		}
		return nil
	}
	_, err := l.UpdateCluster(t.Context(), "c-packed", packed)
	_, err2 := l.UpdateCluster(t.Context(), "c-plain", func(c *ledger.Cluster) error { c.NextLook = noon; return nil })
	_, err3 := l.UpdateIncident(t.Context(), "x", func(i *ledger.Incident) error { i.Opened = noon; return nil })
	_, err4 := l.Hold(t.Context(), cmek.Hold{ClusterID: "c", Since: noon, Until: noon.Add(time.Hour)})
	if err := errors.Join(err, err2, err3, err4, l.SetPause(t.Context(), ledger.Pause{Since: noon}), l.SetPause(t.Context(), ledger.Pause{})); err != nil {
		t.Fatal(err)
	}
	for _, item := range [][2]string{{"rotation", "cluster#c-plain"}, {"alerting", "incident#x"}, {"control", "holds"}, {"control", "pause"}} {
		r, err := store.Get(t.Context(), item[0], item[1])
		var form struct{ Format int }
		if err = errors.Join(err, json.Unmarshal(r.Data, &form)); err != nil || form.Format != 3 {
			t.Errorf("%v is stored as %s (error %v), want the form 3", item, r.Data, err)
		}
	}
	r, err := store.Get(t.Context(), "rotation", "cluster#c-packed")
	if err != nil || json.Valid(r.Data) {
		t.Fatalf("the large item is not packed (error %v); the test proves nothing", err)
	}

	later, err := store.Get(t.Context(), "rotation", "cluster#c-plain")
	if err != nil {
		t.Fatal(err)
	}
	later.Data = bytes.Replace(later.Data, []byte(`"format":3`), []byte(`"format":4`), 1)
	if err := store.Put(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	a, err := l.Due(t.Context(), noon, 10)
	if len(a.Clusters) != 1 || a.Clusters[0].ID != "c-packed" || !errors.Is(err, ledger.ErrNewer) {
		t.Errorf("due are %d clusters with error %v, want the packed one, and the other named", len(a.Clusters), err)
	}
}

// The items that earlier releases stored have no form, and are read.
func TestItems_ofEarlierReleases_areRead(t *testing.T) {
	data, err := os.ReadFile("testdata/cluster.json")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(`"format"`)) {
		t.Fatal("the file is not of an earlier release")
	}
	store := cmektest.NewStore()
	if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "cluster#c-1", Data: data}); err != nil {
		t.Fatal(err)
	}
	if c, err := newLedger(store, 1).Cluster(t.Context(), "c-1"); err != nil || c.Cluster.Name == "" {
		t.Errorf("the item of an earlier release reads %+v, error %v", c, err)
	}
}
