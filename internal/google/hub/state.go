package hub

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// WhoAmI is the e-mail address of the credentials, "" if Google does not say it, as for those without its scope
// (developers.google.com/identity/sign-in/web/backend-auth, tokeninfo). Without credentials, as for an endpoint on this machine, nobody is
// asked.
func (h Hub) WhoAmI(ctx context.Context) (string, error) {
	if h.Config.Tokens == nil {
		return "", nil
	}
	token, err := h.Config.Tokens.Token()
	if err != nil {
		return "", errors.Join(cmek.ErrDenied, err)
	}
	var answer struct{ Email string }
	err = h.Config.Call(ctx, "ask whose credentials these are", http.MethodPost, "oauth2.googleapis.com", "/tokeninfo", nil,
		url.Values{"access_token": {token.AccessToken}}, &answer)
	return answer.Email, err
}

// Problem is what keeps a push subscription from doing its work, "" if nothing does
// (cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions). The error wraps [cmek.ErrNotFound] if it does not exist.
func (h Hub) Problem(ctx context.Context, subscription string) (string, error) {
	var s struct {
		State      string
		Detached   bool
		Topic      string
		PushConfig struct {
			PushEndpoint string
		}
		DeadLetterPolicy struct {
			DeadLetterTopic string
		}
		ExpirationPolicy *struct {
			TTL string `json:"ttl"`
		}
	}
	if err := h.Config.Call(ctx, "read subscription "+subscription, http.MethodGet, "pubsub.googleapis.com", "/v1/"+subscription, nil, nil, &s); err != nil {
		return "", err
	}
	switch {
	case s.Topic == "_deleted-topic_":
		return "its topic was deleted", nil
	case s.Topic == "":
		return "", cmek.ErrIncomplete
	case s.Detached:
		return "it was detached from its topic", nil
	case s.PushConfig.PushEndpoint == "":
		return "it pushes to nobody", nil
	case s.DeadLetterPolicy.DeadLetterTopic == "":
		return "messages that cannot be handled go nowhere", nil
	case s.ExpirationPolicy == nil || s.ExpirationPolicy.TTL != "":
		return "it expires when nothing is published for 31 days", nil
	case s.State != "" && s.State != "STATE_UNSPECIFIED" && s.State != "ACTIVE":
		return "its state is " + s.State, nil
	}
	return "", nil
}

// undelivered is the metric of what a subscription holds (cloud.google.com/monitoring/api/metrics_gcp_p_z, pubsub).
const undelivered = "pubsub.googleapis.com/subscription/num_undelivered_messages"

// Undelivered is how many messages each of the project's subscriptions of that names hold, as the newest point of the last ten minutes
// shows; names are without the project. Those that show nothing are left out.
func (h Hub) Undelivered(ctx context.Context, prefix string, now time.Time) (map[string]int64, error) {
	query := url.Values{
		"filter":             {`metric.type="` + undelivered + `" AND resource.labels.subscription_id=starts_with("` + prefix + `")`},
		"interval.startTime": {now.Add(-10 * time.Minute).UTC().Format(time.RFC3339)},
		"interval.endTime":   {now.UTC().Format(time.RFC3339)},
	}
	held := map[string]int64{}
	for {
		var page struct {
			TimeSeries []struct {
				Resource struct {
					Labels struct {
						ID string `json:"subscription_id"`
					}
				}
				Points []struct{ Value struct{ Int64Value string } }
			}
			NextPageToken string
		}
		err := h.Config.Call(ctx, "read what subscriptions hold", http.MethodGet, "monitoring.googleapis.com", "/v3/projects/"+h.Published.Project+"/timeSeries", query, nil, &page)
		if err != nil {
			return nil, err
		}
		for _, series := range page.TimeSeries {
			if len(series.Points) == 0 || !strings.HasPrefix(series.Resource.Labels.ID, prefix) {
				continue
			}
			n, err := strconv.ParseInt(series.Points[0].Value.Int64Value, 10, 64) // the newest comes first
			if err != nil {
				return nil, cmek.ErrIncomplete
			}
			held[series.Resource.Labels.ID] = n
		}
		if page.NextPageToken == "" || page.NextPageToken == query.Get("pageToken") {
			return held, nil
		}
		query.Set("pageToken", page.NextPageToken)
	}
}
