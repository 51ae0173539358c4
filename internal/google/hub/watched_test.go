package hub_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google/hub"
	"github.com/keyturn/keyturn/internal/google/hub/hubtest"
)

// A key is watched where its project is, or a folder or the organization above it; what was not published or read is not known.
func TestUnwatched(t *testing.T) {
	const below = `{"ancestor":[{"resourceId":{"type":"project","id":"other-keys"}},{"resourceId":{"type":"folder","id":"55"}},{"resourceId":{"type":"organization","id":"987"}}]}`
	const key = "/locations/us-east1/keyRings/r/cryptoKeys/k"
	folders := func(of ...string) func(*hub.Published) {
		return func(p *hub.Published) { p.WatchedFolders = append([]string{}, of...) }
	}
	organization := func(number string) func(*hub.Published) {
		return func(p *hub.Published) { p.WatchedFolders, p.WatchedOrganization = []string{}, number }
	}
	for _, r := range []struct {
		name    string
		change  func(*hub.Published)
		key     cmek.KeyURI
		above   string // the answer about what is above the project; "" for a denial
		asks    bool
		says    string // "" for watched
		unknown string // "" if it is known
	}{
		{"its project", folders(), "projects/acme-keys" + key, "", false, "", ""},
		{"its project, of a deployment of before", func(p *hub.Published) { p.WatchedFolders = nil }, "projects/acme-keys" + key, "", false, "", ""},
		{"another project", folders(), "projects/other-keys" + key, "", false, "does not watch project other-keys; add it to watched_projects", ""},
		{"another project, of a deployment of before", func(p *hub.Published) { p.WatchedFolders = nil }, "projects/other-keys" + key, "", false, "", "a version that did not"},
		{"its folder", folders("54", "55"), "projects/other-keys" + key, below, true, "", ""},
		{"another folder", folders("5", "555"), "projects/other-keys" + key, below, true, "does not watch project other-keys", ""},
		{"its organization", organization("987"), "projects/other-keys" + key, below, true, "", ""},
		{"another organization", organization("55"), "projects/other-keys" + key, below, true, "does not watch", ""},
		{"what is above may not be read", folders("55"), "projects/other-keys" + key, "", true, "", "denied"},
		{"what is above is cut", folders("55"), "projects/other-keys" + key, below[:60], true, "", "no ancestors"},
		{"what is above is about another", folders("55"), "projects/other-keys" + key, strings.Replace(below, "other-keys", "acme-keys", 1), true, "", "is about"},
		{"a project by its number", folders(), "projects/123456" + key, "", false, "", "by its id"},
		{"a key of AWS", folders(), "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001", "", false, "is on Google Cloud", ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			asked := false
			c := at(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				asked = asked || req.URL.Path == "/v1/projects/other-keys:getAncestry"
				w.Header().Set("Content-Type", "application/json")
				if r.above == "" {
					w.WriteHeader(http.StatusForbidden)
					_, _ = w.Write([]byte(`{"error":{"code":403,"message":"Permission denied.","status":"PERMISSION_DENIED"}}`))
					return
				}
				_, _ = w.Write([]byte(r.above))
			}))
			p := hubtest.Deployment("acme-keyturn")
			r.change(&p)
			why, err := hub.Hub{Config: c, Published: p}.Unwatched(t.Context(), r.key)
			if (why == "") != (r.says == "") || !strings.Contains(why, r.says) || asked != r.asks {
				t.Errorf("it says %q and asked: %t; want %q and %t", why, asked, r.says, r.asks)
			}
			says := err == nil && r.unknown == "" || err != nil && r.unknown != "" && strings.Contains(err.Error(), r.unknown)
			if denied := r.unknown == "denied" && errors.Is(err, cmek.ErrDenied); !says && !denied {
				t.Errorf("the error is %v, want %q", err, r.unknown)
			}
		})
	}
}
