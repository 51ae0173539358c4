package function

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/delivery"
)

func sample(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../../../events/testdata/google/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// push is the body of a push of the text.
func push(text string) string {
	return fmt.Sprintf(`{"message":{"data":%q,"attributes":{"logging.googleapis.com/timestamp":"2026-03-01T12:00:00Z"},"messageId":"m1","message_id":"m1","publishTime":"2026-03-01T12:00:01Z"},`+
		`"subscription":"projects/acme/subscriptions/keyturn","deliveryAttempt":3}`, base64.StdEncoding.EncodeToString([]byte(text)))
}

func post(body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
}

// tick is a tick of Cloud Scheduler.
func tick() *http.Request {
	r := post(`{"keyturn":"tick"}`)
	r.Header.Set("X-CloudScheduler", "true")
	r.Header.Set("X-CloudScheduler-ScheduleTime", "2026-03-01T12:00:00Z")
	return r
}

func call(h http.Handler, r *http.Request) (status int, answer string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// serving is a handler with the time limit of a minute that logs into the buffer.
func serving(log io.Writer, h delivery.Handler) Handler {
	h.Log = newLog(log, "rotation", slog.LevelInfo)
	return Handler{Handler: h, Settings: DefaultSettings()}
}

func TestPush_statusSaysWhetherToDeliverAgain(t *testing.T) {
	disabled := strings.Replace(sample(t, "iam-disableserviceaccount"), `"insertId"`, `"note": "hunter2", "insertId"`, 1)
	for _, tc := range []struct {
		name, body string
		event      func(context.Context, cmek.Event) error
		subscribes []cmek.Change
		status     int
		handled    int32
		logged     string // the one line at least WARNING; "": there is none
	}{
		{"handled", push(disabled), nil, nil, 204, 1, ""},
		{"with a trailing line feed, as sinks send it", push(disabled + "\n"), nil, nil, 204, 1, ""},
		{"not subscribed", push(disabled), nil, []cmek.Change{cmek.ChangeRotated}, 204, 0, ""},
		{"a greeting of a feed", sample(t, "push-asset-greeting"), nil, nil, 204, 0, ""},
		{"not for us", push(sample(t, "iap-setiampolicy")), nil, nil, 204, 0, ""},
		{"failing", push(disabled), func(context.Context, cmek.Event) error { return errors.New("ledger is busy") }, nil, 500, 1, "event not handled"},
		{"panicking", push(disabled), func(context.Context, cmek.Event) error { panic("boom") }, nil, 500, 1, delivery.LogPanicked},
		{"cut", push(disabled[:len(disabled)/2]), nil, nil, 500, 0, delivery.LogUnreadable},
		{"not JSON", push("rotate hunter2, please"), nil, nil, 500, 0, delivery.LogUnreadable},
		{"some JSON", push(`{"hunter2":1}`), nil, nil, 500, 0, delivery.LogUnreadable},
		{"a hostile key", push(sample(t, "bad/hostile-key")), nil, nil, 500, 0, delivery.LogUnreadable},
		{"not base64", strings.Replace(push(disabled), `"data":"`, `"data":"%`, 1), nil, nil, 500, 0, delivery.LogUnreadable},
		{"no data", `{"message":{"attributes":{"a":"hunter2"},"messageId":"m1"},"subscription":"s"}`, nil, nil, 500, 0, delivery.LogUnreadable},
		{"much nesting", push(strings.Repeat("[", 1<<19)), nil, nil, 500, 0, delivery.LogUnreadable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log bytes.Buffer
			var handled atomic.Int32
			h := New(serving(&log, delivery.Handler{Subscribes: tc.subscribes, Event: func(ctx context.Context, e cmek.Event) error {
				handled.Add(1)
				if tc.event != nil {
					return tc.event(ctx, e)
				}
				return nil
			}}))
			status, answer := call(h, post(tc.body))
			if status != tc.status || handled.Load() != tc.handled {
				t.Errorf("status %d, %d events handled; want %d, %d", status, handled.Load(), tc.status, tc.handled)
			}
			if want := map[bool]int{true: 1}[status != 204]; strings.Count(answer, "\n") != want {
				t.Errorf("the answer is %q, want %d lines", answer, want)
			}
			var lines []string
			for line := range strings.Lines(log.String()) {
				if !strings.Contains(line, `"severity":"INFO"`) {
					lines = append(lines, line)
				}
			}
			switch {
			case tc.logged == "" && len(lines) > 0:
				t.Errorf("want nothing in the log:\n%s", lines)
			case tc.logged != "" && (len(lines) != 1 || !strings.Contains(lines[0], `"message":"`+tc.logged+`"`) || !strings.Contains(lines[0], `"message_id":"m1"`)):
				t.Errorf("want one line %q of the message m1:\n%s", tc.logged, lines)
			}
			if strings.Contains(log.String()+answer, "hunter2") {
				t.Errorf("the payload is in the log:\n%s", &log)
			}
		})
	}
}

func TestRequests_thatAreNeitherPushNorTick(t *testing.T) {
	var works atomic.Int32
	both := delivery.Handler{
		Event: func(context.Context, cmek.Event) error { works.Add(1); return nil },
		Tick:  func(context.Context) error { works.Add(1); return nil },
	}
	changed := func(r *http.Request, change func(*http.Request)) *http.Request { change(r); return r }
	for _, tc := range []struct {
		name    string
		handler delivery.Handler
		request *http.Request
		status  int
		says    string
	}{
		{"GET", both, httptest.NewRequest(http.MethodGet, "/", nil), 405, "want POST"},
		{"PUT of a push", both, httptest.NewRequest(http.MethodPut, "/", strings.NewReader(push("{}"))), 405, "want POST"},
		{"nothing", both, post(""), 400, "read body"},
		{"text", both, post("hello"), 400, "read body"},
		{"null", both, post("null"), 400, "want a Pub/Sub push"},
		{"a list", both, post("[]"), 400, "read body"},
		{"another object", both, post(`{"source":"aws.kms","detail-type":"x"}`), 400, "want a Pub/Sub push"},
		{"a message that nobody pushed", both, post(`{"message":{"data":"e30="}}`), 400, "want a Pub/Sub push"},
		{"a message that is a text", both, post(`{"message":"hello","subscription":"s"}`), 400, "read body"},
		{"a push and a tick", both, post(`{"keyturn":"tick","message":{"data":"e30="},"subscription":"s"}`), 400, "want a Pub/Sub push"},
		{"another order", both, post(`{"keyturn":"tock"}`), 400, "want a Pub/Sub push"},
		{"a tick that Cloud Scheduler did not send", both, post(`{"keyturn":"tick"}`), 400, "no header X-CloudScheduler: true"},
		{"a tick of another sender", both, changed(tick(), func(r *http.Request) { r.Header.Set("X-CloudScheduler", "false") }), 400, "no header X-CloudScheduler: true"},
		{"a tick without a time", both, changed(tick(), func(r *http.Request) { r.Header.Del("X-CloudScheduler-ScheduleTime") }), 400, "want an RFC 3339 time"},
		{"a tick at some time", both, changed(tick(), func(r *http.Request) {
			r.Header.Set("X-CloudScheduler-ScheduleTime", "noon"+strings.Repeat("!", 1000))
		}), 400, "want an RFC 3339 time"},
		{"too much", both, post(push(strings.Repeat("x", 1<<20))), 413, "1048576 bytes"},
		{"a push to a function that takes none", delivery.Handler{Tick: both.Tick}, post(push("{}")), 400, "takes no messages"},
		{"a tick to a function that takes none", delivery.Handler{Event: both.Event}, tick(), 400, "takes no ticks"},
	} {
		var log bytes.Buffer
		status, answer := call(New(serving(&log, tc.handler)), tc.request)
		if status != tc.status || !strings.Contains(answer, tc.says) || strings.Count(answer, "\n") != 1 || len(answer) > 400 {
			t.Errorf("%s: %d %q; want %d and one line with %q", tc.name, status, answer, tc.status, tc.says)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), `"severity":"WARNING"`) {
			t.Errorf("%s: want one warning in the log:\n%s", tc.name, &log)
		}
	}
	if works.Load() != 0 {
		t.Errorf("%d of them did something", works.Load())
	}
}

func TestTick_outcome(t *testing.T) {
	for _, tc := range []struct {
		name   string
		tick   func(context.Context) error
		status int
		logged string
	}{
		{"done", func(context.Context) error { return nil }, 204, ""},
		{"failed", func(context.Context) error { return errors.New("read secret: denied") }, 500, `"message":"tick failed","function":"rotation","scheduled":"2026-03-01T12:00:00Z","error":"read secret: denied"`},
		{"panicked", func(context.Context) error { panic("boom") }, 500, `"message":"` + delivery.LogPanicked + `"`},
	} {
		var log bytes.Buffer
		h := New(serving(&log, delivery.Handler{Tick: tc.tick}))
		for range 2 { // nothing stays locked
			log.Reset()
			if status, _ := call(h, tick()); status != tc.status || !strings.Contains(log.String(), tc.logged) || tc.logged == "" && log.Len() > 0 {
				t.Errorf("%s: status %d, want %d, and in the log %q:\n%s", tc.name, status, tc.status, tc.logged, &log)
			}
		}
	}
}

// The worker's lease is held under one name by a whole process.
func TestTick_oneAtATimeBesidePushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at, most, ticks, events atomic.Int32
		h := New(serving(io.Discard, delivery.Handler{
			Tick: func(context.Context) error {
				ticks.Add(1)
				most.Store(max(most.Load(), at.Add(1)))
				time.Sleep(50 * time.Second)
				at.Add(-1)
				return nil
			},
			Event: func(context.Context, cmek.Event) error { events.Add(1); return nil },
		}))
		statuses := make(chan int, 10)
		for range 5 {
			go func() { status, _ := call(h, tick()); statuses <- status }()
			go func() { status, _ := call(h, post(push(sample(t, "iam-disableserviceaccount")))); statuses <- status }()
		}
		synctest.Wait()
		if events.Load() != 5 {
			t.Errorf("%d of 5 events were handled beside a tick", events.Load())
		}
		for range 10 {
			if status := <-statuses; status != 204 {
				t.Errorf("status %d, want 204", status)
			}
		}
		if ticks.Load() != 1 || most.Load() != 1 {
			t.Errorf("%d ticks were done, %d at a time; want one: the others find it at work", ticks.Load(), most.Load())
		}
		if status, _ := call(h, tick()); status != 204 || ticks.Load() != 2 {
			t.Errorf("after it: status %d, %d ticks; want the second", status, ticks.Load())
		}
	})
}

func TestEvents_asManyAtATimeAsParallel(t *testing.T) {
	body := push(sample(t, "iam-disableserviceaccount"))
	for parallel, want := range map[int]time.Duration{0: 12 * time.Second, 4: 3 * time.Second, 100: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := New(serving(io.Discard, delivery.Handler{Parallel: parallel, Event: func(context.Context, cmek.Event) error {
				time.Sleep(time.Second)
				return nil
			}}))
			began, statuses := time.Now(), make(chan int, 12)
			for range 12 {
				go func() { status, _ := call(h, post(body)); statuses <- status }()
			}
			for range 12 {
				if status := <-statuses; status != 204 {
					t.Errorf("status %d, want 204", status)
				}
			}
			if took := time.Since(began); took != want {
				t.Errorf("with %d at a time 12 events took %s, want %s", parallel, took, want)
			}
		})
	}
}

func TestDeadline_isTheFunctionsWithTimeToAnswer(t *testing.T) {
	for _, tc := range []struct {
		name    string
		timeout time.Duration
		context func(context.Context) (context.Context, context.CancelFunc)
		want    time.Duration // until the work ends
	}{
		{"a minute", time.Minute, context.WithCancel, 59 * time.Second},
		{"short", 5 * time.Second, context.WithCancel, 4500 * time.Millisecond},
		{"the framework's, which is earlier", time.Minute, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 30*time.Second)
		}, 29 * time.Second},
		{"the framework's, which is later", time.Minute, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Hour)
		}, 59 * time.Second},
		{"the caller has gone", time.Minute, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, 59 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := serving(io.Discard, delivery.Handler{Tick: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
			h.Settings.Timeout = tc.timeout
			ctx, cancel := tc.context(t.Context())
			defer cancel()
			began := time.Now()
			status, _ := call(New(h), tick().WithContext(ctx))
			if took := time.Since(began); status != 500 || took != tc.want {
				t.Errorf("%s: status %d after %s, want 500 after %s", tc.name, status, took, tc.want)
			}
		})
	}
}

// A push that waits for its place until its time is up comes again.
func TestEvents_behindOnesThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var begun atomic.Int32
		h := New(serving(&log, delivery.Handler{Event: func(ctx context.Context, _ cmek.Event) error {
			begun.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}}))
		statuses, began := make(chan int, 3), time.Now()
		for range 3 {
			go func() { status, _ := call(h, post(push(sample(t, "iam-disableserviceaccount")))); statuses <- status }()
		}
		for range 3 {
			if status := <-statuses; status != 500 {
				t.Errorf("status %d, want 500", status)
			}
		}
		if took := time.Since(began); took != 59*time.Second || strings.Count(log.String(), `"severity":"ERROR"`) != 3 {
			t.Errorf("%d begun, all answered after %s, want 59s; the log:\n%s", begun.Load(), took, &log)
		}
	})
}

func TestLog_isWhatCloudLoggingReads(t *testing.T) {
	for level, severity := range map[slog.Level]string{slog.LevelDebug: "DEBUG", slog.LevelInfo: "INFO", slog.LevelWarn: "WARNING", slog.LevelError: "ERROR"} {
		var out bytes.Buffer
		newLog(&out, "notify", slog.LevelDebug).With("severity", "critical").Log(t.Context(), level, "alert delivered", "event", "e1")
		var line map[string]string
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		delete(line, "time")
		want := map[string]string{"severity": severity, "message": "alert delivered", "function": "notify", "event": "e1", "alert_severity": "critical"}
		if fmt.Sprint(line) != fmt.Sprint(want) || strings.Count(out.String(), `"severity"`) != 1 {
			t.Errorf("the line is %s, want %v", &out, want)
		}
	}
}

func TestSettings_timeLimit(t *testing.T) {
	for _, tc := range []struct {
		settings Settings
		says     string
	}{
		{Settings{Timeout: time.Minute}, ""},
		{Settings{Timeout: 10 * time.Second}, ""},
		{Settings{Timeout: time.Hour}, ""},
		{Settings{Timeout: time.Minute, Deployed: 60}, ""},
		{Settings{Timeout: time.Minute, Deployed: 540}, ""},
		{Settings{Timeout: 0}, "from 10s to 1h"},
		{Settings{Timeout: 9 * time.Second}, "from 10s to 1h"},
		{Settings{Timeout: time.Hour + 1}, "from 10s to 1h"},
		{Settings{Timeout: time.Minute, Deployed: 59}, "time limit of 59s"},
	} {
		problems := errors.Join(tc.settings.Check()...)
		if (problems == nil) != (tc.says == "") || problems != nil && !strings.Contains(problems.Error(), tc.says) {
			t.Errorf("%+v: %v; want %q", tc.settings, problems, tc.says)
		}
	}
}
