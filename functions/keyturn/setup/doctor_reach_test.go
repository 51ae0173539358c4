package setup

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/amazon/hub"
)

func TestSubscriptionsAreJudgedByWhatIsConfirmed(t *testing.T) {
	person := hub.Subscription{Protocol: "email", Endpoint: "A@example.com", Confirmed: true}
	queue := hub.Subscription{Protocol: "sqs", Endpoint: "arn:q", Confirmed: true}
	for _, c := range []struct {
		name   string
		found  []hub.Subscription
		people []string
		queues []string
		want   string
	}{
		{"all there", []hub.Subscription{person, queue}, []string{"a@example.com"}, []string{"arn:q"}, ResultOK},
		{"none at all", nil, nil, nil, ResultProblem},
		{"only a channel", []hub.Subscription{queue}, nil, []string{"arn:q"}, ResultProblem},
		{"without keyturn.yaml", []hub.Subscription{person}, nil, nil, ResultUnverified},
		{"a person lost", []hub.Subscription{person}, []string{"a@example.com", "b@example.com"}, nil, ResultProblem},
		{"asked twice, confirmed once", []hub.Subscription{person, {Protocol: "email", Endpoint: "a@example.com"}}, []string{"a@example.com"}, nil, ResultOK},
		{"not confirmed", []hub.Subscription{{Protocol: "email", Endpoint: "a@example.com"}}, []string{"a@example.com"}, nil, ResultProblem},
	} {
		if got, detail, _ := judgeSubscriptions("arn:aws:sns:us-east-1:111122223333:x", c.found, c.people, c.queues); got != c.want {
			t.Errorf("%s: the result is %s (%s), want %s", c.name, got, detail, c.want)
		}
	}
}

func TestTheClockIsMeasuredByTheDateOfAnswers(t *testing.T) {
	for _, c := range []struct {
		offset time.Duration
		want   string
	}{
		{0, ResultOK}, {time.Second, ResultOK}, {-time.Second, ResultOK}, {10 * time.Second, ResultProblem}, {-10 * time.Second, ResultProblem}, {-11 * time.Minute, ResultProblem},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(c.offset).UTC().Format(http.TimeFormat))
		}))
		d := &dates{next: http.DefaultTransport}
		answer, err := (&http.Client{Transport: d}).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		server.Close()
		if got, detail, _ := d.judge(); got != c.want {
			t.Errorf("a server that is ahead by %v: %s (%s), want %s", c.offset, got, detail, c.want)
		}
	}
	if got, _, _ := (&dates{}).judge(); got != ResultUnverified {
		t.Errorf("without an answer the clock is %s", got)
	}
}
