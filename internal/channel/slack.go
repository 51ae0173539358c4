package channel

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"

	"github.com/keyturn/keyturn/internal/alert"
)

// Slack posts to an incoming webhook (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks). The webhook's URL
// is the secret: whoever has it can post.
type Slack struct {
	Client *http.Client
	URL    Secret
	// Runbooks is the URL below which runbooks are; "" for those of the program's version.
	Runbooks string
}

// Send posts the alert as a message. It is in the Slack channel when Send returns nil; with an error it may be there too.
func (s Slack) Send(ctx context.Context, a alert.Alert) error {
	return s.post(ctx, s.message(a))
}

func (s Slack) post(ctx context.Context, m slackMessage) error {
	url, err := s.URL(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode Slack message: %w", err)
	}
	r := request{url: url, body: body, secret: url, explain: slackReason}
	if err := r.send(ctx, s.Client); err != nil {
		return fmt.Errorf("post to Slack: %w", err)
	}
	return nil
}

// slackCode is the form of Slack's own words for a refusal, such as no_service, channel_is_archived or invalid_blocks.
var slackCode = regexp.MustCompile(`^[a-z_]{1,64}$`)

func slackReason(body []byte) string { return string(slackCode.Find(body)) }
