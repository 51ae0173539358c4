package simulator

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Service is one API that is simulated.
type Service struct {
	Name string `json:"name"`
	// At is where a client sends its requests.
	At  string `json:"at"`
	Doc string `json:"doc"`
	// Operations are those that are simulated, by the names that the service gives them.
	Operations []string `json:"operations"`
}

// Overview is what the page at / shows, and what a program gets there.
type Overview struct {
	Organization string    `json:"organization"`
	Time         time.Time `json:"time"`
	Clusters     int       `json:"clusters"`
	Keys         int       `json:"keys"`
	Services     []Service `json:"services"`
	Switches     []Switch  `json:"switches"`
	// Requests are the newest ones, newest first.
	Requests []Request `json:"requests"`
	// Older is the number of requests before these.
	Older int `json:"older"`
}

// requestsShown is how many requests the overview holds.
const requestsShown = 200

// services are all that is simulated. Each is described in the file of its protocol.
func services() []Service {
	return []Service{cloudService(), awsService(), googleService()}
}

// Overview is the world at a glance.
func (w *World) Overview() Overview {
	switches := w.Switches()
	now := w.enter()
	defer w.mu.Unlock()
	o := Overview{
		Organization: w.organization.Name, Time: now, Clusters: len(w.clusters.byName), Keys: len(w.aws.byARN) + len(w.google.keys),
		Services: services(), Switches: switches,
	}
	newest := w.requests.entries[max(0, len(w.requests.entries)-requestsShown):]
	o.Requests = append([]Request{}, newest...)
	slices.Reverse(o.Requests)
	o.Older = w.requests.added - len(newest)
	return o
}

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string

	page = template.Must(template.New("page").Funcs(template.FuncMap{
		"clock": func(t time.Time) string { return t.Format("15:04:05") },
		"style": func() template.CSS { return template.CSS(pageStyle) },
	}).Parse(pageText))

	// pagePolicy lets the browser load nothing at all and apply this one style sheet.
	pagePolicy = func() string {
		sum := sha256.Sum256([]byte(pageStyle))
		return fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			base64.StdEncoding.EncodeToString(sum[:]))
	}()
)

// Page serves the [Overview]: a page to those that accept text/html, as browsers do, and JSON to others.
func (w *World) Page() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		overview := w.Overview()
		a := newAnswer(http.StatusOK, "application/json", toJSON(overview))
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			var html bytes.Buffer
			if err := page.Execute(&html, overview); err != nil {
				panic(fmt.Errorf("write page: %w", err)) // the tests write it
			}
			a = newAnswer(http.StatusOK, "text/html; charset=utf-8", html.Bytes())
			a.header.Set("Content-Security-Policy", pagePolicy)
		}
		a.header.Set("Vary", "Accept")
		a.header.Set("Cache-Control", "no-store")
		a.header.Set("X-Content-Type-Options", "nosniff")
		a.write(rw)
	})
}
