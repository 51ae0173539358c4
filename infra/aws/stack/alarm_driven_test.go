package stack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/cloudwatchtest"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon/lambda"
	"github.com/keyturn/keyturn/internal/cmek"
)

// began is when the model begins, at no full minute; broke when something goes wrong, hours later.
var (
	began = time.Date(2026, 3, 22, 3, 0, 17, 0, time.UTC)
	broke = began.Add(8 * time.Hour)
)

const step = 10 * time.Second

// installation is a model of what a stack has deployed, as far as alarms are concerned: queues that feed the real handler, ticks, logs, and
// the metrics that all of them publish. What goes wrong is switched.
type installation struct {
	t       *testing.T
	made    template
	metrics cloudwatchtest.Metrics
	filters []cloudwatchtest.Filter
	queues  map[string]*cloudwatchtest.Queue // by name
	fed     map[string]*fed                  // by function
	ticking map[string]bool                  // by function
	every   map[string]int                   // by function, the minutes between its ticks
	// beating says that the log of alerting's events has the heartbeats; sweeping that walks over the clusters end, proving that the daily
	// runs of the checks do.
	beating, sweeping, proving bool

	failing, throttled map[string]bool // by function
	// oldest is the age of the oldest open work that the sweeps find.
	oldest time.Duration
	now    time.Time
}

// fed is a function that a queue feeds.
type fed struct {
	function string
	queue    *cloudwatchtest.Queue
	batch    int
	window   time.Duration
	enabled  bool
	waits    time.Time // since when the oldest message of the next batch waits
	handler  lambda.Handler
	log      bytes.Buffer
}

// name is what a value of a template names: the name of a resource.
func (d *installation) name(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	id := ""
	if of, ok := value.(map[string]any); ok {
		id, _ = of["Ref"].(string)
		if get, ok := of["Fn::GetAtt"].([]any); ok {
			id, _ = get[0].(string)
		}
	}
	r := d.made.Resources[id]
	for _, property := range []string{"QueueName", "FunctionName", "LogGroupName"} {
		if name, ok := r.property(property).(string); ok {
			return name
		}
	}
	d.t.Fatalf("%v names nothing", value)
	return ""
}

func seconds(value any) time.Duration {
	n, _ := value.(float64)
	return time.Duration(n) * time.Second
}

func deploy(t *testing.T, made template) *installation {
	t.Helper()
	d := &installation{
		t: t, made: made, metrics: cloudwatchtest.Metrics{}, queues: map[string]*cloudwatchtest.Queue{}, fed: map[string]*fed{}, ticking: map[string]bool{}, every: map[string]int{},
		failing: map[string]bool{}, throttled: map[string]bool{}, beating: true, sweeping: true, proving: true, now: began,
	}
	for _, id := range made.of("AWS::SQS::Queue") {
		r := made.Resources[id]
		q := &cloudwatchtest.Queue{Name: d.name(r.property("QueueName")), Visibility: seconds(r.property("VisibilityTimeout")), Retention: seconds(r.property("MessageRetentionPeriod"))}
		d.queues[q.Name] = q
	}
	for _, id := range made.of("AWS::SQS::Queue") {
		r := made.Resources[id]
		if target := r.property("RedrivePolicy", "deadLetterTargetArn"); target != nil {
			q := d.queues[d.name(r.property("QueueName"))]
			most, _ := r.property("RedrivePolicy", "maxReceiveCount").(float64)
			q.Dead, q.MostReceives = d.queues[d.name(target)], int(most)
		}
	}
	for _, id := range made.of("AWS::Lambda::EventSourceMapping") {
		r := made.Resources[id]
		batch, _ := r.property("BatchSize").(float64)
		f := &fed{
			function: d.name(r.property("FunctionName")), queue: d.queues[d.name(r.property("EventSourceArn"))], batch: int(batch),
			window: seconds(r.property("MaximumBatchingWindowInSeconds")), enabled: true,
		}
		f.handler = lambda.Handler{Log: slog.New(slog.NewJSONHandler(&f.log, nil)), Event: handle}
		d.fed[f.function] = f
	}
	for _, id := range made.of("AWS::Scheduler::Schedule") {
		n := 0
		if target := made.Resources[id].property("Target", "Arn"); target != "arn:aws:scheduler:::aws-sdk:kms:tagResource" {
			d.ticking[d.name(target)], d.every[d.name(target)] = true, 1
			if _, err := fmt.Sscanf(made.Resources[id].property("ScheduleExpression").(string), "rate(%d minutes)", &n); err == nil {
				d.every[d.name(target)] = n
			}
		}
	}
	for _, id := range made.of("AWS::Logs::MetricFilter") {
		r := made.Resources[id]
		m := list(r.property("MetricTransformations"))[0].(map[string]any)
		f := cloudwatchtest.Filter{
			Log: d.name(r.property("LogGroupName")), Pattern: r.property("FilterPattern").(string), Value: m["MetricValue"].(string),
			Metric: cloudwatchtest.Metric{Namespace: m["MetricNamespace"].(string), Name: m["MetricName"].(string)}, Dimensions: map[string]string{},
		}
		for _, pair := range list(m["Dimensions"]) {
			if pair, ok := pair.(map[string]any); ok {
				f.Dimensions[pair["Key"].(string)] = pair["Value"].(string)
			}
		}
		d.filters = append(d.filters, f)
	}
	return d
}

// panicking is the id of what the functions panic on.
const panicking = "panic"

func handle(_ context.Context, e cmek.Event) error {
	if e.ID == panicking {
		panic("boom")
	}
	return nil
}

// logGroup is the log group of a function of the hub.
func logGroup(function string) string { return "/keyturn/" + strings.TrimPrefix(function, "keyturn-") }

// write writes a line to the log of a function as its logger does.
func (d *installation) write(function, message string, fields ...any) {
	var line bytes.Buffer
	slog.New(slog.NewJSONHandler(&line, nil)).Info(message, fields...)
	d.line(function, line.String())
}

func (d *installation) line(function, text string) {
	if err := cloudwatchtest.Log(d.metrics, d.filters, logGroup(function), text, d.now); err != nil {
		d.t.Fatal(err)
	}
}

// runTo lets the deployment work until then.
func (d *installation) runTo(until time.Time) {
	for ; d.now.Before(until); d.now = d.now.Add(step) {
		for _, name := range slices.Sorted(maps.Keys(d.fed)) {
			d.feed(d.fed[name])
		}
		minute := d.now.Truncate(time.Minute)
		if d.now.Sub(minute) >= step { // what follows happens once a minute
			continue
		}
		for function, on := range d.ticking {
			switch {
			case !on || minute.Minute()%d.every[function] != 0:
			case d.throttled[function]:
				cloudwatchtest.Throttled(d.metrics, function, d.now)
			default:
				cloudwatchtest.Invoked(d.metrics, function, d.now, time.Second, d.failing[function])
			}
		}
		if d.sweeping && d.ticking["keyturn-rotation-tick"] && minute.Minute()%15 == 0 {
			d.write("rotation-tick", rotation.LogSweepEnded, rotation.LogOldestOpen, d.oldest.Seconds())
		}
		if d.proving && minute.Sub(began.Truncate(time.Hour).Add(time.Hour))%(24*time.Hour) == 0 && d.ticking["keyturn-compliance"] {
			d.write("compliance", compliance.LogRunEnded)
		}
		if d.beating && minute.Minute() == 7 {
			for _, place := range heartbeats(d.t) {
				d.write("alerting-event", alerting.LogHeartbeat, "account", place[0], "region", place[1], alerting.LogSecondsSince, 30.5)
			}
		}
		for _, q := range d.queues {
			q.Publish(d.metrics, minute)
		}
	}
}

// feed hands the function its next batch, as Lambda does.
func (d *installation) feed(f *fed) {
	if !f.enabled {
		return
	}
	if f.queue.Len() > 0 && f.waits.IsZero() {
		f.waits = d.now
	}
	if f.queue.Len() > 0 && f.queue.Len() < f.batch && d.now.Sub(f.waits) < f.window {
		return
	}
	f.waits = time.Time{}
	if d.throttled[f.function] && f.queue.Len() > 0 {
		cloudwatchtest.Throttled(d.metrics, f.function, d.now)
		return
	}
	batch := f.queue.Receive(d.now, f.batch)
	if len(batch) == 0 {
		return
	}
	records := lambdaevents.SQSEvent{}
	for i, m := range batch {
		records.Records = append(records.Records, lambdaevents.SQSMessage{MessageId: fmt.Sprint(i), Body: m.Body, EventSource: "aws:sqs"})
	}
	payload, err := json.Marshal(records)
	if err != nil {
		d.t.Fatal(err)
	}
	if d.failing[f.function] {
		cloudwatchtest.Invoked(d.metrics, f.function, d.now, time.Minute, true)
		return
	}
	f.log.Reset()
	answer, err := f.handler.Invoke(d.t.Context(), payload)
	for line := range strings.Lines(f.log.String()) {
		d.line(f.function, line)
	}
	cloudwatchtest.Invoked(d.metrics, f.function, d.now, time.Second, err != nil)
	if err != nil {
		return
	}
	var response lambdaevents.SQSEventResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		d.t.Fatal(err)
	}
	for _, failed := range response.BatchItemFailures {
		i, err := strconv.Atoi(failed.ItemIdentifier)
		if err != nil {
			d.t.Fatal(err)
		}
		batch[i] = nil
	}
	f.queue.Delete(batch...)
}

// good is a message that is understood; poisonous are those that cannot be read or panic.
func good(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../../events/testdata/kms-cmk-rotation-automatic.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func poisonous(t *testing.T) map[string]string {
	t.Helper()
	panics := strings.Replace(good(t), `"6a7e8feb-b491-4cf7-a9f1-bf3703467718"`, `"`+panicking+`"`, 1)
	if panics == good(t) {
		t.Fatal("the sample has another id")
	}
	return map[string]string{"panics": panics, "is no JSON": "rotate, please"}
}

// cause is something that goes wrong, and the alarm that must be raised for it.
type cause struct {
	what, alarm string
	stack       string // whose template has the alarm
	// breaks makes it go wrong; fixes ends it. within is how long the alarm may take, until is how long after the fix it may stay.
	breaks, fixes func(d *installation)
	within, until time.Duration
}

// heartbeats are the accounts and Regions that have a heartbeat.
func heartbeats(t *testing.T) (places [][2]string) {
	t.Helper()
	for name, made := range templates(t) {
		rest, ok := strings.CutPrefix(name, "keyturn-spoke-")
		if account, region, _ := strings.Cut(rest, "-"); ok && len(made.of("AWS::Scheduler::Schedule")) > 0 {
			places = append(places, [2]string{account, region})
		}
	}
	return places
}

// A message in a queue that nobody used for hours is seen late.
const seen = 15*time.Minute + 2*cloudwatchtest.Delay

// causes are all that can go wrong with what the templates have: a cause for each queue, function, schedule, log and heartbeat.
func causes(t *testing.T) (all []cause) {
	t.Helper()
	for _, stack := range slices.Sorted(maps.Keys(templates(t))) {
		all = append(all, causesIn(t, stack, deploy(t, templates(t)[stack]))...)
	}
	in := func(what, alarm string, within, until time.Duration, breaks, fixes func(*installation)) {
		all = append(all, cause{what, alarm, "keyturn-hub", breaks, fixes, within, until})
	}
	// The sweep of 10:45 is the last one before.
	in("no walk over the clusters ends", "keyturn-sweep-overdue", 47*time.Minute, 18*time.Minute,
		func(d *installation) { d.sweeping = false }, func(d *installation) { d.sweeping = true })
	in("walks are given up", "keyturn-sweep-overdue", 47*time.Minute, 18*time.Minute,
		func(d *installation) {
			d.sweeping = false
			for range 20 {
				d.write("rotation-tick", rotation.LogSweepEnded, rotation.LogOldestOpen, 0.0, "error", "list clusters: timeout")
			}
		}, func(d *installation) { d.sweeping = true })
	// A run ends at the same hour of each day; the first is long before.
	in("no run of the checks ends", "keyturn-compliance-overdue", 27*time.Hour, 25*time.Hour,
		func(d *installation) { d.proving = false }, func(d *installation) { d.proving = true })
	in("work stays open", "keyturn-open-work-old", 18*time.Minute, 80*time.Minute,
		func(d *installation) { d.oldest = 25 * time.Hour }, func(d *installation) { d.oldest = 0 })
	in("an alert is late", "keyturn-event-to-alert", 4*time.Minute, 20*time.Minute,
		func(d *installation) {
			d.write("alerting-event", alerting.LogAlertSent, alerting.LogSecondsSince, 301.0)
		}, func(*installation) {})
	for _, place := range heartbeats(t) {
		// The one of 10:07 is the last one before, and the fix comes at a quarter past.
		in("no heartbeat of "+place[0]+" in "+place[1], "keyturn-heartbeat-"+place[0]+"-"+place[1], 2*time.Hour+10*time.Minute, time.Hour,
			func(d *installation) { d.beating = false }, func(d *installation) { d.beating = true })
	}
	return all
}

// causesIn are those of one stack's resources.
func causesIn(t *testing.T, stack string, d *installation) (all []cause) {
	t.Helper()
	in := func(what, alarm string, within, until time.Duration, breaks, fixes func(*installation)) {
		all = append(all, cause{what, alarm, stack, breaks, fixes, within, until})
	}
	for name := range d.queues {
		if dead, ok := strings.CutSuffix(name, "-dead"); ok {
			alarm := dead + "-dead-letters"
			if strings.HasSuffix(dead, "-forward") {
				alarm += strings.TrimPrefix(stack, "keyturn-spoke-")[len("111122223333"):]
			}
			in("a message comes to "+name, alarm, seen, seen,
				func(d *installation) { d.queues[name].Send(d.now, "x") }, func(d *installation) { d.queues[name].Purge(d.now) })
		}
	}
	for function, f := range d.fed {
		for what, message := range poisonous(t) {
			alone := func(d *installation) { d.fed[function].queue.Send(d.now, message) }
			beside := func(d *installation) {
				d.fed[function].queue.Send(d.now, good(t))
				alone(d)
			}
			// Each is received until it is a dead letter.
			gone := time.Duration(f.queue.MostReceives+1)*f.queue.Visibility + 30*time.Minute
			in("a message "+what, function+"-poison", 5*time.Minute, gone, alone, func(*installation) {})
			in("a message "+what, function+"-errors", 5*time.Minute, gone, alone, func(*installation) {})
			in("a message "+what+" beside a good one", function+"-poison", 5*time.Minute, gone, beside, func(*installation) {})
			in("a message that "+what+" comes again and again", function+"-dead-letters", gone, gone, alone, func(d *installation) { d.fed[function].queue.Dead.Purge(d.now) })
		}
		// Nothing is logged by a process that is killed: at its time limit, or by a fatal error.
		in(function+" is killed", function+"-errors", 5*time.Minute, 20*time.Minute,
			func(d *installation) { d.failing[function] = true; d.fed[function].queue.Send(d.now, good(t)) },
			func(d *installation) { d.failing[function] = false })
		in("the queue of "+function+" feeds nobody", function+"-queue-old", 8*time.Minute, 8*time.Minute,
			func(d *installation) { d.fed[function].enabled = false; d.fed[function].queue.Send(d.now, good(t)) },
			func(d *installation) { d.fed[function].enabled = true })
		throttle := func(d *installation) { d.throttled[function] = true; d.fed[function].queue.Send(d.now, good(t)) }
		release := func(d *installation) { d.throttled[function] = false }
		in(function+" is throttled", function+"-throttles", 5*time.Minute, 20*time.Minute, throttle, release)
		in(function+" is throttled", function+"-queue-old", 8*time.Minute, 8*time.Minute, throttle, release)
	}
	for function := range d.ticking {
		every := time.Duration(d.every[function]) * time.Minute
		in("no tick comes to "+function, function+"-silent", 13*every, 5*every,
			func(d *installation) { d.ticking[function] = false }, func(d *installation) { d.ticking[function] = true })
		in(function+" is throttled", function+"-silent", 13*every, 5*every,
			func(d *installation) { d.throttled[function] = true }, func(d *installation) { d.throttled[function] = false })
		in(function+" is throttled", function+"-throttles", 4*time.Minute+every, 9*time.Minute+every,
			func(d *installation) { d.throttled[function] = true }, func(d *installation) { d.throttled[function] = false })
		in("ticks of "+function+" fail", function+"-errors", 2*time.Minute+4*every, 16*time.Minute+4*every,
			func(d *installation) { d.failing[function] = true }, func(d *installation) { d.failing[function] = false })
	}
	for _, id := range d.made.of("AWS::Logs::LogGroup") {
		log := d.made.Resources[id].property("LogGroupName").(string)
		function := strings.TrimPrefix(log, "/keyturn/")
		if stack != "keyturn-hub" {
			continue // trailcheck reads no secret
		}
		alarm := "keyturn-secret-unreadable"
		if strings.HasPrefix(function, "notify-") || function == "compliance" {
			alarm = "keyturn-" + function + "-secret-unreadable"
		}
		in(function+" cannot read its secret", alarm, 4*time.Minute, 3*time.Hour,
			func(d *installation) {
				d.write(function, "tick failed", "error", "list clusters: read secret keyturn-api-key: access denied")
			}, func(*installation) {})
	}
	return all
}

// looksBack are how many periods more than its own an alarm may look back, which is not documented.
func looksBack(a cloudwatchtest.Alarm) []int { return []int{0, 2, a.EvaluationPeriods} }

func alarmsOf(t *testing.T, d *installation) map[string]cloudwatchtest.Alarm {
	t.Helper()
	alarms := map[string]cloudwatchtest.Alarm{}
	for _, id := range d.made.of("AWS::CloudWatch::Alarm") {
		a, err := cloudwatchtest.Read(d.made.Resources[id].Properties, d.name)
		if err != nil {
			t.Fatal(err)
		}
		alarms[a.Name] = a
	}
	return alarms
}

func TestEveryAlarmIsDrivenFromItsCauseToItsStateAndBack(t *testing.T) {
	driven := map[string]bool{}
	for _, c := range causes(t) {
		driven[c.stack+" "+c.alarm] = true
		t.Run(c.alarm+"/"+c.what, func(t *testing.T) {
			d := deploy(t, templates(t)[c.stack])
			a, ok := alarmsOf(t, d)[c.alarm]
			if !ok {
				t.Fatalf("%s, and no alarm %s is there to be raised", c.what, c.alarm)
			}
			d.runTo(broke)
			c.breaks(d)
			fixed := broke.Add(c.within)
			d.runTo(fixed)
			c.fixes(d)
			end := fixed.Add(c.until + 2*time.Hour)
			d.runTo(end)
			for _, more := range looksBack(a) {
				changes := a.History(d.metrics, began.Add(3*time.Hour), end, more)
				changes = slices.DeleteFunc(changes, func(c cloudwatchtest.Change) bool { return c.At.Before(broke.Add(-time.Hour)) }) // before the first data
				if len(changes) == 0 || changes[0].To != cloudwatchtest.InAlarm {
					t.Fatalf("%s at %s, and with %d more periods the state changes %v, want ALARM within %s", c.what, broke.Format(time.TimeOnly), more, changes, c.within)
				}
				if late := changes[0].At.Sub(broke); late < 0 || late > c.within {
					t.Errorf("%s at %s, and with %d more periods the alarm is raised at %s, want it within %s", c.what, broke.Format(time.TimeOnly), more, changes[0].At.Format(time.TimeOnly), c.within)
				}
				last := changes[len(changes)-1]
				if last.To != cloudwatchtest.OK || last.At.Sub(fixed) > c.until {
					t.Errorf("%s until %s, and with %d more periods the state changes %v, want OK within %s", c.what, fixed.Format(time.TimeOnly), more, changes, c.until)
				}
			}
		})
	}
	for stack, made := range templates(t) {
		for name := range alarmsOf(t, deploy(t, made)) {
			if !driven[stack+" "+name] {
				t.Errorf("%s: nothing drives alarm %s", stack, name)
			}
		}
	}
}

// Where nothing is wrong no alarm is raised.
func TestNoAlarmIsRaisedWhereAllIsWell(t *testing.T) {
	for stack, made := range templates(t) {
		d := deploy(t, made)
		for hour := range 6 {
			for _, f := range d.fed {
				f.queue.Send(d.now, good(t))
			}
			d.runTo(began.Add(time.Duration(hour+1) * time.Hour))
		}
		for name, a := range alarmsOf(t, d) {
			for _, more := range looksBack(a) {
				if changes := a.History(d.metrics, began.Add(4*time.Hour), d.now, more); len(changes) > 0 {
					t.Errorf("%s: the state of %s changes %v", stack, name, changes)
				}
			}
		}
	}
}

// A message leaves the age metric after its third receive: where that is soon, the queue's age is no alarm for a message that nobody
// can handle.
func TestTheAgeOfAQueueIsBlindToPoison(t *testing.T) {
	const function = "keyturn-alerting-event"
	d := deploy(t, hub(t))
	d.runTo(broke)
	d.fed[function].queue.Send(d.now, "rotate, please")
	d.runTo(broke.Add(3 * time.Hour))
	a := alarmsOf(t, d)[function+"-queue-old"]
	if changes := a.History(d.metrics, broke, d.now, 0); len(changes) > 0 {
		t.Errorf("the state of %s changes %v: then the alarms about poison need not see it", a.Name, changes)
	}
}

// A deployment that observes has the alarm as well, and one that walks more rarely is given as many walks.
func TestTheDeadManIsThereInObserveMode_andKnowsHowOftenWalksBegin(t *testing.T) {
	d := full(t)
	d.Mode = deployment.Observe
	d.Settings = map[string]string{"KEYTURN_SWEEP_EVERY": "1h"}
	directory := t.TempDir()
	synthesize(d, directory)
	alarms := alarmsOf(t, deploy(t, read(t, filepath.Join(directory, "keyturn-hub.template.json"))))
	a, ok := alarms["keyturn-sweep-overdue"]
	if whole := time.Duration(a.EvaluationPeriods) * a.Period; !ok || whole != 3*time.Hour {
		t.Errorf("the alarm is %+v (%t), want it after 3 hours", a, ok)
	}
	if _, ok := alarms["keyturn-open-work-old"]; ok {
		t.Error("work that stays open raises an alarm in observe mode")
	}
}
