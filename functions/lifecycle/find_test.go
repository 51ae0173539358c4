package lifecycle_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// listed is a Cloud API that lists these pages, each with the name of the next.
type listed struct {
	lifecycle.Cloud
	pages map[string]listedPage
}

type listedPage struct {
	clusters []cmek.Cluster
	next     string
}

func (l listed) ClusterPage(_ context.Context, page string) ([]cmek.Cluster, string, error) {
	p, ok := l.pages[page]
	if !ok {
		return nil, "", errors.New("no such page")
	}
	return p.clusters, p.next, nil
}

// A name means a cluster only if the whole list has it once.
func TestFind(t *testing.T) {
	named := func(id, name, state string) cmek.Cluster { return cmek.Cluster{ID: id, Name: name, State: state} }
	one, other, gone := named("1", "orders", "CREATED"), named("2", "orders", "LOCKED"), named("3", "orders", cmek.StateDeleted)
	for _, tt := range []struct {
		name  string
		pages map[string]listedPage
		want  string
		is    error
	}{
		{"once", map[string]listedPage{"": {[]cmek.Cluster{named("9", "Orders", "CREATED"), one}, ""}}, "1", nil},
		{"once on a later page", map[string]listedPage{"": {nil, "b"}, "b": {[]cmek.Cluster{one}, ""}}, "1", nil},
		{"beside one that is deleted", map[string]listedPage{"": {[]cmek.Cluster{gone, one}, ""}}, "1", nil},
		{"not at all", map[string]listedPage{"": {[]cmek.Cluster{gone, named("9", "orders ", "CREATED")}, ""}}, "", cmek.ErrNotFound},
		{"twice", map[string]listedPage{"": {[]cmek.Cluster{one, other}, ""}}, "", lifecycle.ErrSeveral},
		{"twice on two pages", map[string]listedPage{"": {[]cmek.Cluster{one}, "b"}, "b": {[]cmek.Cluster{other}, ""}}, "", lifecycle.ErrSeveral},
		{"once, and a page is not read", map[string]listedPage{"": {[]cmek.Cluster{one}, "b"}}, "", nil},
		{"once, on a page that is its own next", map[string]listedPage{"": {nil, "b"}, "b": {[]cmek.Cluster{one}, "b"}}, "", nil},
		{"once, on pages in a ring", map[string]listedPage{"": {nil, "b"}, "b": {[]cmek.Cluster{one}, "c"}, "c": {nil, "b"}}, "", nil},
	} {
		f := lifecycle.Function{Cloud: listed{pages: tt.pages}}
		c, err := f.Find(t.Context(), "orders")
		if c.ID != tt.want || (err == nil) != (tt.want != "") || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, c.ID, err, tt.want, tt.is)
		}
	}
}

// While one command watches its request, another follows it to its end, and a third one's request begins. The first has nothing more to say, and
// above all not the end of the other request.
func TestACommandWhoseRequestGaveWayToAnother_reportsNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.function()
		replaced := false
		f.Report = func(s lifecycle.Step) {
			if s.Stage != "waiting" || replaced {
				return
			}
			replaced = true
			_, err := f.Ledger.UpdateCluster(t.Context(), analytics, func(c *ledger.Cluster) error {
				c.Operation = &ledger.Operation{Kind: ledger.OperationAddRegion, By: "bo", Sent: time.Now(), Ended: time.Now(), Result: ledger.OperationDone}
				return nil
			})
			must(t, err)
		}
		result, err := f.Run(t.Context(), enableAnalytics())
		if !replaced || !errors.Is(err, lifecycle.ErrReplaced) || result.Done() {
			t.Errorf("%+v, %v; want no end, and ErrReplaced", result, err)
		}
	})
}
