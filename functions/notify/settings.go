package notify

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
)

// Kind names a kind of channel.
type Kind string

// The kinds of channels.
const (
	Slack     Kind = "slack"
	PagerDuty Kind = "pagerduty"
	Webhook   Kind = "webhook"
)

// UnmarshalText accepts the three kinds.
func (k *Kind) UnmarshalText(text []byte) error {
	switch v := Kind(text); v {
	case Slack, PagerDuty, Webhook:
		*k = v
		return nil
	}
	return fmt.Errorf("%q is none of slack, pagerduty and webhook", text)
}

// leastByDefault is the least severity of each kind unless it is set: PagerDuty wakes people, Slack informs them, and a program
// behind a webhook can choose for itself.
var leastByDefault = map[Kind]alert.Severity{Slack: alert.Medium, PagerDuty: alert.High, Webhook: alert.Info}

// Settings are the knobs of notify besides the channel's secret, which each cloud keeps in its own store.
type Settings struct {
	Kind Kind `env:"KEYTURN_CHANNEL,required"`
	// URL is where a webhook goes, or PagerDuty's endpoint. Slack's is its secret.
	URL string `env:"KEYTURN_CHANNEL_URL"`
	// Least is the least severity that the channel is for; "" for the kind's default.
	Least alert.Severity `env:"KEYTURN_MIN_SEVERITY"`
	// Runbooks is the URL below which the runbooks are; "" for those of the program's version.
	Runbooks string `env:"KEYTURN_RUNBOOKS"`
	// AllowPrivate and AllowLoopback widen what the channel may reach; see [channel.Reach].
	AllowPrivate  bool `env:"KEYTURN_ALLOW_PRIVATE"`
	AllowLoopback bool `env:"KEYTURN_ALLOW_LOOPBACK"`
}

// DefaultSettings lack the kind of channel, which has no default.
func DefaultSettings() Settings { return Settings{} }

// Check returns every setting that makes no sense, each naming its variable and what it should be. It quotes no URL of a
// channel.
func (s Settings) Check() (problems []error) {
	bad := func(is bool, format string, args ...any) {
		if is {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	bad(s.Kind == Slack && s.URL != "", "KEYTURN_CHANNEL_URL is set; want none for slack, whose URL is the secret")
	bad(s.Kind == Webhook && s.URL == "", "KEYTURN_CHANNEL_URL is not set; want the URL of the webhook")
	if err := channel.CheckURL(s.URL); s.URL != "" && err != nil {
		problems = append(problems, fmt.Errorf("KEYTURN_CHANNEL_URL: %w", err))
	}
	bad(strings.HasPrefix(s.URL, "http:") && !s.AllowLoopback, "KEYTURN_CHANNEL_URL is plain http; want https")
	bad(s.Least != "" && (!s.Least.Known() || s.Least == alert.None), "KEYTURN_MIN_SEVERITY is %q; want critical, high, medium, low or info", s.Least)
	u, err := url.Parse(s.Runbooks)
	bad(s.Runbooks != "" && (err != nil || u.Scheme != "https" || u.Host == ""), "KEYTURN_RUNBOOKS is %q; want an https URL", s.Runbooks)
	return problems
}

// LeastSeverity is the least severity that the channel is for.
func (s Settings) LeastSeverity() alert.Severity { return cmp.Or(s.Least, leastByDefault[s.Kind]) }

// Channel makes the channel of settings that have no problems. It sends nothing and reads no secret.
func (s Settings) Channel(secret channel.Secret) Channel {
	client := channel.NewClient(channel.Reach{Private: s.AllowPrivate, Loopback: s.AllowLoopback})
	switch s.Kind {
	case Slack:
		return channel.Slack{Client: client, URL: secret, Runbooks: s.Runbooks}
	case PagerDuty:
		return channel.PagerDuty{Client: client, RoutingKey: secret, Endpoint: s.URL, Runbooks: s.Runbooks}
	default:
		return channel.Webhook{Client: client, URL: s.URL, Key: secret, Runbooks: s.Runbooks}
	}
}
