package alerting

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// One call of the Resource Manager moves a project and edits its labels. What sweeps noted of the project's place tells one from the other;
// where they noted none, the first of a day is reported and pages nobody.
func TestAnUpdateOfAProjectIsAMoveOnlyIfItIsElsewhereThanBefore(t *testing.T) {
	const here, elsewhere = `["folders/99","organizations/42"]`, `["folders/7","organizations/42"]`
	const below, withoutParent = "resourcemanager-updateproject-v1", "resourcemanager-updateproject-v1-without-a-parent"
	const moved, perhaps = "[MEDIUM] Project acme-keys was moved to another folder", "[LOW] Project acme-keys was changed, and perhaps moved to another folder"
	type seen struct {
		ago   time.Duration // before the event
		place string
	}
	for _, row := range []struct {
		what, sample string
		noted        []seen
		edits        []string
		edit         func(*world, *cmek.Event)
		want         []string
	}{
		{"an edit of the labels", below, []seen{{48 * time.Hour, here}, {time.Hour, here}}, nil, nil, nil},
		{"an edit of the labels below the organization", below, []seen{{time.Hour, `["organizations/42"]`}}, []string{`"type": "folder"`, `"type": "organization"`, `"id": "99"`, `"id": "42"`}, nil, nil},
		{"a move", below, []seen{{time.Hour, elsewhere}}, nil, nil, []string{moved}},
		{"a move to a folder above", below, []seen{{time.Hour, `["folders/7","folders/99","organizations/42"]`}}, nil, nil, []string{moved}},
		{"a move to an organization of the folder's number", below, []seen{{time.Hour, here}}, []string{`"type": "folder"`, `"type": "organization"`}, nil, []string{moved}},
		{"a move that a sweep saw first", below, []seen{{time.Hour, elsewhere}, {-time.Minute, here}}, nil, nil, []string{moved}},
		{"a move that a sweep saw whose clock is behind", below, []seen{{time.Hour, elsewhere}, {time.Minute, here}}, nil, nil, []string{moved}},
		{"an edit of the labels after a move", below, []seen{{2 * time.Hour, elsewhere}, {time.Hour, here}}, nil, nil, nil},
		{"an edit of the labels before a move", below, []seen{{time.Hour, here}, {-time.Minute, elsewhere}}, nil, nil, nil},
		{"an update of a project that no sweep noted", below, nil, nil, nil, []string{perhaps}},
		{"an update of a project that a sweep noted only after it", below, []seen{{-time.Minute, here}}, nil, nil, []string{perhaps}},
		{"an update of a project without an organization", below, []seen{{time.Hour, `[]`}}, nil, nil, []string{perhaps}},
		{"an update that does not say where", withoutParent, []seen{{time.Hour, here}}, nil, nil, []string{perhaps}},
		{"an update to something else", below, []seen{{time.Hour, here}}, []string{`"type": "folder"`, `"type": "galaxy"`}, nil, []string{perhaps}},
		{"an update to a hostile place", below, []seen{{time.Hour, here}}, []string{`"id": "99"`, `"id": "9;x"`}, nil, []string{perhaps}},
		{"an update of a project of no cluster", below, nil, []string{"acme-keys", "acme-shop"}, nil, nil},
		{"an update of a project of which it is not known whether it is of no cluster", below, nil, []string{"acme-keys", "acme-shop"},
			func(*world, *cmek.Event) { time.Sleep(2 * time.Hour) }, []string{"[LOW] Project acme-shop was changed, and perhaps moved"}},
		{"a move that was refused", below, []seen{{time.Hour, elsewhere}}, []string{`"status": {}`, `"status": {"code": 7}`}, nil, nil},
		{"the call that moves and nothing else", "resourcemanager-moveproject", []seen{{time.Hour, here}}, nil, nil, []string{moved}},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			withIAM(t, w)
			begin, note := time.Now().Add(72*time.Hour), func(place string) {
				name := "projects/acme-keys#parents"
				was, err := w.Ledger.PolicyNoted(t.Context(), name)
				if err == nil {
					err = w.Ledger.NotePolicy(t.Context(), name, place, was)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range row.noted {
				time.Sleep(time.Until(begin.Add(-s.ago)))
				note(s.place)
			}
			time.Sleep(time.Until(begin))
			w.swept()
			e := logged(t, row.sample, "", row.edits...)[0]
			if row.edit != nil {
				row.edit(w, &e)
			}
			e.ID, e.Time = "e-1", begin
			w.happens(e)
			w.want("after "+row.what, row.want...)
			e.ID = "e-2"
			w.happens(e)
			w.want("after "+row.what+", again", row.want...)
		})
	}
}

// What was reported as perhaps moved is reported as a move when one comes.
func TestAMoveIsToldAfterAnUpdateThatMayHaveBeenOne(t *testing.T) {
	onGoogleOnly(t, func(t *testing.T, w *world) {
		e := logged(t, "resourcemanager-updateproject-v1", "")[0]
		e.ID, e.Time = "e-1", time.Now()
		w.happens(e)
		if err := w.Ledger.NotePolicy(t.Context(), "projects/acme-keys#parents", `["folders/7"]`, ledger.NotedPolicy{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		e.ID, e.Time = "e-2", time.Now()
		w.happens(e)
		w.want("after an update and a move", "[LOW] Project acme-keys was changed, and perhaps moved", "[MEDIUM] Project acme-keys was moved")
	})
}
