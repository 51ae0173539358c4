package alerting

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

const keysNumber = "123456789012" // of the project acme-keys

// knows has the ledger know the projects of the cluster on Google Cloud, and a sweep that did or did not.
func (w *world) knows(named ledger.Named, projects ...cmek.Project) {
	w.t.Helper()
	if _, err := w.Ledger.UpdateCluster(w.t.Context(), googleCluster, func(c *ledger.Cluster) error {
		c.Projects = projects
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	worker, err := w.Ledger.Worker(w.t.Context())
	if err == nil {
		worker.Sweep.Complete, worker.Sweep.Named = time.Now(), named
		err = w.Ledger.SaveWorker(w.t.Context(), worker, time.Now())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// numbered is an event as it names its project by the number.
func numbered(e cmek.Event, number string) cmek.Event {
	p := cmek.Project{ID: number, Number: e.Account}
	return e.In(p)
}

// An event by number is about the same key, ring and project as one by id; another project's number is not, and one that nobody could
// resolve may be.
func TestProjects_eventByNumber(t *testing.T) {
	acme := cmek.Project{ID: cryptoKey.Account(), Number: keysNumber}
	both, idsOnly := ledger.Named{IDs: true, Numbers: true}, ledger.Named{IDs: true}
	for _, row := range []struct {
		name     string
		projects []cmek.Project
		named    ledger.Named
		number   string
		found    bool
		used     string // what the headline says of use
	}{
		{"its project", []cmek.Project{acme}, both, keysNumber, true, "; needed by ledger"},
		{"its project, and another one is not resolved", []cmek.Project{acme}, idsOnly, keysNumber, true, "; needed by ledger"},
		{"another project", []cmek.Project{acme}, both, "999999999999", false, "no known cluster"},
		{"the number that the project had before it was made anew", []cmek.Project{{ID: acme.ID, Number: "888888888888"}}, both, keysNumber, false, "no known cluster"},
		{"not resolved: refused", nil, idsOnly, keysNumber, false, ""},
		{"nothing known", nil, ledger.Named{}, keysNumber, false, ""},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			withIAM(t, w)
			w.knows(row.named, row.projects...)
			e := numbered(onVersion(w, "e-1", "kms-updatecryptokeyversion-disabled"), row.number)
			w.cryptoKeys().versions["4"] = cmek.KeyDisabled
			w.happens(e)
			a := w.last()
			if found := len(a.Clusters) == 1; found != row.found {
				t.Errorf("%s: the alert is about %d clusters: %s", row.name, len(a.Clusters), a.Headline())
			}
			unused := len(a.Clusters) == 0 && a.Severity != alert.Critical && a.Severity != alert.High
			if want := row.used == "no known cluster"; unused != want {
				t.Errorf("%s: %s; want it lowered as of a key that nobody uses: %t", row.name, a.Headline(), want)
			}
			if row.found && (a.Key != cryptoKey || strings.Contains(strings.Join(a.RecoverySteps, " "), keysNumber)) {
				t.Errorf("%s: the alert is about %s, with the steps %q; want the project's id", row.name, a.Key, a.RecoverySteps)
			}
		})
	}
}

// One incident, by whichever name its events name the project: an end by one ends what the other began.
func TestProjects_bothNamesAreOneIncident(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		withIAM(t, w)
		w.knows(ledger.Named{IDs: true, Numbers: true}, cmek.Project{ID: cryptoKey.Account(), Number: keysNumber})
		w.cryptoKeys().versions["4"] = cmek.KeyDisabled
		w.happens(numbered(onVersion(w, "e-1", "kms-updatecryptokeyversion-disabled"), keysNumber))
		time.Sleep(time.Second)
		w.happens(onVersion(w, "e-2", "kms-updatecryptokeyversion-disabled"))
		if len(w.open()) != 1 || len(w.told.Alerts()) != 1 {
			t.Errorf("open are %v, %d alerts were sent; want one", w.open(), len(w.told.Alerts()))
		}
		time.Sleep(time.Minute)
		w.cryptoKeys().versions["4"] = cmek.KeyEnabled
		w.happens(numbered(onVersion(w, "e-3", "kms-updatecryptokeyversion-enabled"), keysNumber))
		w.ticks(20 * time.Minute)
		if len(w.open()) != 0 || !w.last().Resolved {
			t.Errorf("after it was enabled open are %v, last %s", w.open(), w.last().Headline())
		}
	})
}

// A cluster that names its key by the number is found by the id, once that is known; before, nobody is said not to use it.
func TestProjects_clusterByNumber(t *testing.T) {
	for _, row := range []struct {
		name     string
		projects []cmek.Project
		named    ledger.Named
		want     alert.Severity
		clusters int
	}{
		{"known", []cmek.Project{{ID: cryptoKey.Account(), Number: keysNumber}}, ledger.Named{IDs: true, Numbers: true}, alert.Critical, 1},
		{"refused", nil, ledger.Named{Numbers: true}, alert.Critical, 0},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			withIAM(t, w)
			if _, err := w.Ledger.UpdateCluster(t.Context(), googleCluster, func(c *ledger.Cluster) error {
				c.CMEK.RegionInfos[0].KeyInfos[0].Spec.URI = cryptoKey.In(keysNumber)
				c.Done[0].Key = cryptoKey.In(keysNumber)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			w.knows(row.named, row.projects...)
			w.cryptoKeys().versions["4"] = cmek.KeyDisabled
			w.happens(onVersion(w, "e-1", "kms-updatecryptokeyversion-disabled"))
			if a := w.last(); a.Severity != row.want || len(a.Clusters) != row.clusters {
				t.Errorf("%s: %s about %d clusters, want %s about %d", row.name, a.Headline(), len(a.Clusters), row.want, row.clusters)
			}
		})
	}
}

// A ledger that hangs delays the alert by no more than its patience.
func TestProjects_ledgerThatHangs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		withIAM(t, w)
		w.Settings.Enrich = mostEnrich
		e := numbered(onVersion(w, "e-1", "kms-updatecryptokeyversion-disabled"), keysNumber)
		w.store.outage = hanging
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error)
		go func() { done <- w.Event(ctx, e) }()
		time.Sleep(10 * time.Second)
		if a := w.last(); !a.Severity.AtLeast(alert.High) {
			t.Errorf("while the ledger hangs: %s", a.Headline())
		}
		<-done
	})
}
