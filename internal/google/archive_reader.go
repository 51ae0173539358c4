package google

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/keyturn/keyturn/internal/cmek"
)

// object is a generation as the JSON API shows it (cloud.google.com/storage/docs/json_api/v1/objects#resource).
type object struct {
	Name        string    `json:"name"`
	Generation  string    `json:"generation"`
	Size        string    `json:"size"`
	TimeCreated time.Time `json:"timeCreated"`
	TimeDeleted time.Time `json:"timeDeleted"`
}

// List yields the objects with all their generations. One without a live generation ends with a deletion. It needs storage.objects.list.
func (a *Archive) List(ctx context.Context, prefix string) iter.Seq2[cmek.Stored, error] {
	return func(yield func(cmek.Stored, error) bool) {
		// The generations of one object come together, but may be on two pages.
		var open []object
		flush := func() bool { return len(open) == 0 || yield(a.stored(open), nil) }
		const mostPages = 1_000_000
		for token, n := "", 0; ; n++ {
			page, next, err := a.page(ctx, prefix, token)
			if err == nil && n == mostPages {
				err = fmt.Errorf("no end after %d pages", mostPages)
			}
			if err != nil {
				yield(cmek.Stored{}, explain(err, fmt.Sprintf("list archive %q", prefix)))
				return
			}
			for _, o := range page {
				if len(open) > 0 && open[0].Name != o.Name {
					if !flush() {
						return
					}
					open = nil
				}
				open = append(open, o)
			}
			if token = next; token == "" {
				break
			}
		}
		flush()
	}
}

func (a *Archive) page(ctx context.Context, prefix, token string) (items []object, next string, err error) {
	query := url.Values{"prefix": {a.prefix + prefix}, "versions": {"true"}}
	if token != "" {
		query.Set("pageToken", token)
	}
	text, err := a.rest.call(ctx, request{host: storageHost, path: "/storage/v1/b/" + a.bucket + "/o", query: query})
	if err != nil {
		return nil, "", err
	}
	var answer struct {
		Kind          string   `json:"kind"`
		Items         []object `json:"items"`
		NextPageToken string   `json:"nextPageToken"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Kind != "storage#objects" { // an empty bucket has no items, but it has this
		return nil, "", fmt.Errorf("%w: it is no list of objects", cmek.ErrIncomplete)
	}
	return answer.Items, answer.NextPageToken, nil
}

// stored are the generations of one object.
func (a *Archive) stored(generations []object) cmek.Stored {
	s := cmek.Stored{Name: strings.TrimPrefix(generations[0].Name, a.prefix)}
	slices.SortStableFunc(generations, func(x, y object) int {
		return cmp.Or(x.TimeCreated.Compare(y.TimeCreated), cmp.Compare(len(x.Generation), len(y.Generation)), cmp.Compare(x.Generation, y.Generation))
	})
	for _, o := range generations {
		size, _ := strconv.ParseInt(o.Size, 10, 64)
		s.Versions = append(s.Versions, cmek.StoredVersion{ID: o.Generation, At: o.TimeCreated, Size: size})
	}
	if last := generations[len(generations)-1]; !last.TimeDeleted.IsZero() {
		s.Versions = append(s.Versions, cmek.StoredVersion{At: last.TimeDeleted, Deleted: true})
	}
	return s
}

// Read returns the bytes of an object, or of one generation. It needs storage.objects.get.
func (a *Archive) Read(ctx context.Context, name, version string) ([]byte, error) {
	doing := fmt.Sprintf("read %q of the archive", name)
	query := url.Values{"alt": {"media"}}
	if version != "" {
		query.Set("generation", version)
	}
	data, err := a.rest.call(ctx, request{
		host: storageHost, path: "/storage/v1/b/" + a.bucket + "/o/" + url.PathEscape(a.prefix+name), query: query,
	})
	var refusal *googleapi.Error
	switch {
	case errors.As(err, &refusal) && refusal.Code == http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", doing, cmek.ErrNotFound)
	case err != nil:
		return nil, explain(err, doing)
	}
	return data, nil
}
