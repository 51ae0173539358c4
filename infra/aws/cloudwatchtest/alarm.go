// Package cloudwatchtest evaluates CloudWatch alarms on metrics that a test makes up, so that a test can drive an alarm from its cause to
// its state and back. It knows what keyturn's alarms use: metric alarms on one metric, filled or not, with a sliding window. Anything else
// in an alarm's definition is an error. Queues, and the mappings that feed functions from them, are models of SQS and Lambda: they publish the
// metrics, and carry storms.
package cloudwatchtest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// State is the state of an alarm.
type State string

// The states of an alarm.
const (
	OK           State = "OK"
	InAlarm      State = "ALARM"
	Insufficient State = "INSUFFICIENT_DATA"
)

// Metric names a metric. Dimensions are NAME=VALUE, sorted and separated by commas.
type Metric struct{ Namespace, Name, Dimensions string }

// Dimensions are the dimensions of a metric in the one form in which they are compared.
func Dimensions(of map[string]string) string {
	var pairs []string
	for name, value := range of {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// point is a value that a service measured. An alarm sees it from when it is known.
type point struct {
	at, known time.Time
	value     float64
}

// Metrics are what services have published.
type Metrics map[Metric][]point

// Put publishes a value that was measured at a time and is known to CloudWatch later.
func (m Metrics) Put(metric Metric, at, known time.Time, value float64) {
	m[metric] = append(m[metric], point{at, known, value})
}

// Alarm is the definition of a metric alarm, as CloudFormation has it.
type Alarm struct {
	Name   string
	Metric Metric
	// Statistic is Sum, Maximum, Minimum, Average or SampleCount, of the values of a Period.
	Statistic string
	Period    time.Duration
	// Filled says that the metric is FILL(m, Fill) instead of the metric itself.
	Filled bool
	Fill   float64

	EvaluationPeriods, DatapointsToAlarm int
	Comparison                           string
	Threshold                            float64
	// Missing is breaching, notBreaching, ignore or missing.
	Missing string
}

// State evaluates the alarm at a time, as docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html and
// alarms-and-missing-data.html say. CloudWatch looks back some periods more than the alarm's; how many is not documented, but for the
// example of two beside three. before is the alarm's state until now.
func (a Alarm) State(metrics Metrics, now time.Time, more int, before State) State {
	var real []datum // the newest first
	// The window slides: it ends when the alarm is evaluated, which is once a minute.
	end := now.Truncate(time.Minute)
	for i := range a.EvaluationPeriods + more {
		from, to := end.Add(-time.Duration(i+1)*a.Period), end.Add(-time.Duration(i)*a.Period)
		if value, ok := a.statistic(metrics[a.Metric], from, to, now); ok {
			real = append(real, datum{i + 1, a.breaches(value)})
		}
	}
	if a.Filled && len(real) > 0 { // whether a metric without any data is filled, too, is not documented
		filled := make([]datum, a.EvaluationPeriods+more)
		for i := range filled {
			filled[i] = datum{i + 1, a.breaches(a.Fill)}
		}
		for _, d := range real {
			filled[d.age-1] = d
		}
		real = filled
	}
	return a.decide(real, before)
}

// datum is a data point in the evaluation range: how many periods old, 1 for the newest, and whether it breaches.
type datum struct {
	age      int
	breaches bool
}

func (a Alarm) decide(real []datum, before State) State {
	real = real[:min(len(real), a.EvaluationPeriods)]
	breaching, oldest := 0, 0
	for _, d := range real {
		if d.breaches {
			breaching, oldest = breaching+1, d.age
		}
	}
	absent := a.EvaluationPeriods - len(real)
	if a.Missing == "breaching" {
		breaching += absent
	}
	switch {
	case breaching >= a.DatapointsToAlarm:
		return InAlarm
	case absent == 0, a.Missing == "breaching", a.Missing == "notBreaching", slices.ContainsFunc(real, func(d datum) bool { return !d.breaches }):
		return OK
	case a.Missing == "missing" && len(real) == 0:
		return Insufficient
	case a.Missing == "missing" && oldest >= a.DatapointsToAlarm:
		return InAlarm // "premature alarm state": what is older is not known, and nothing newer speaks against it
	}
	return before
}

// statistic is that of the values between the times that are known now; ok is false if there are none.
func (a Alarm) statistic(points []point, from, to, now time.Time) (value float64, ok bool) {
	n := 0.0
	for _, p := range points {
		if p.at.Before(from) || !p.at.Before(to) || p.known.After(now) {
			continue
		}
		n++
		switch {
		case a.Statistic == "SampleCount":
		case n == 1:
			value = p.value
		case a.Statistic == "Maximum":
			value = max(value, p.value)
		case a.Statistic == "Minimum":
			value = min(value, p.value)
		default:
			value += p.value
		}
	}
	switch {
	case a.Statistic == "SampleCount":
		value = n
	case a.Statistic == "Average" && n > 0:
		value /= n
	}
	return value, n > 0
}

func (a Alarm) breaches(value float64) bool {
	switch a.Comparison {
	case "GreaterThanThreshold":
		return value > a.Threshold
	case "GreaterThanOrEqualToThreshold":
		return value >= a.Threshold
	case "LessThanThreshold":
		return value < a.Threshold
	}
	return value <= a.Threshold
}

// Change is a change of an alarm's state.
type Change struct {
	At time.Time
	To State
}

// History is how the alarm's state changes while it is evaluated once a minute. It begins OK.
func (a Alarm) History(metrics Metrics, from, to time.Time, more int) (changes []Change) {
	state := OK
	for now := from.Truncate(time.Minute); !now.After(to); now = now.Add(time.Minute) {
		if next := a.State(metrics, now, more, state); next != state {
			state = next
			changes = append(changes, Change{now, state})
		}
	}
	return changes
}

// definition is what an alarm's properties may hold, and the words that they know.
var definition = map[string][]string{
	"AlarmName": nil, "AlarmDescription": nil, "AlarmActions": nil, "OKActions": nil, "Tags": nil, "Namespace": nil, "MetricName": nil,
	"Dimensions": nil, "Metrics": nil, "Period": nil, "EvaluationPeriods": nil, "DatapointsToAlarm": nil, "Threshold": nil,
	"Statistic":          {"Sum", "Maximum", "Minimum", "Average", "SampleCount"},
	"TreatMissingData":   {"breaching", "notBreaching", "ignore", "missing"},
	"ComparisonOperator": {"GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"},
}

// Read reads the properties of an AWS::CloudWatch::Alarm. name gives the value of a dimension.
func Read(properties map[string]any, name func(value any) string) (Alarm, error) {
	for property, value := range properties {
		words, known := definition[property]
		if word, isWord := value.(string); !known || words != nil && (!isWord || !slices.Contains(words, word)) {
			return Alarm{}, fmt.Errorf("an alarm with %s %v cannot be evaluated", property, value)
		}
	}
	a := Alarm{
		EvaluationPeriods: number(properties["EvaluationPeriods"]), DatapointsToAlarm: number(properties["DatapointsToAlarm"]),
	}
	a.Name, _ = properties["AlarmName"].(string)
	a.Comparison, _ = properties["ComparisonOperator"].(string)
	a.Threshold, _ = properties["Threshold"].(float64)
	if a.Missing, _ = properties["TreatMissingData"].(string); a.Missing == "" {
		a.Missing = "missing"
	}
	if a.DatapointsToAlarm == 0 {
		a.DatapointsToAlarm = a.EvaluationPeriods
	}
	metric, statistic, period := properties, properties["Statistic"], properties["Period"]
	if queries, ok := properties["Metrics"].([]any); ok {
		var err error
		if metric, statistic, period, err = a.expression(queries); err != nil {
			return Alarm{}, fmt.Errorf("alarm %s: %w", a.Name, err)
		}
	}
	a.Statistic, _ = statistic.(string)
	a.Period = time.Duration(number(period)) * time.Second
	a.Metric.Namespace, _ = metric["Namespace"].(string)
	a.Metric.Name, _ = metric["MetricName"].(string)
	dimensions := map[string]string{}
	listed, _ := metric["Dimensions"].([]any)
	for _, d := range listed {
		d, _ := d.(map[string]any)
		dimensions[fmt.Sprint(d["Name"])] = name(d["Value"])
	}
	a.Metric.Dimensions = Dimensions(dimensions)
	if a.Name == "" || a.Metric.Name == "" || a.Statistic == "" || a.Period < time.Minute || a.EvaluationPeriods == 0 || a.Comparison == "" {
		return Alarm{}, fmt.Errorf("alarm %q is not completely defined: %+v", a.Name, a)
	}
	return a, nil
}

var fill = regexp.MustCompile(`^FILL\(\w+, ([0-9]+)\)$`)

// expression reads FILL(id, number) and the metric that it fills.
func (a *Alarm) expression(queries []any) (metric map[string]any, statistic, period any, err error) {
	for _, q := range queries {
		q, _ := q.(map[string]any)
		if text, ok := q["Expression"].(string); ok {
			m := fill.FindStringSubmatch(text)
			if m == nil {
				return nil, nil, nil, fmt.Errorf("expression %q cannot be evaluated", text)
			}
			a.Fill, _ = strconv.ParseFloat(m[1], 64) // it is a number
			a.Filled = true
			continue
		}
		stat, _ := q["MetricStat"].(map[string]any)
		if stat == nil || metric != nil {
			return nil, nil, nil, errors.New("its metrics cannot be evaluated: want one")
		}
		metric, _ = stat["Metric"].(map[string]any)
		statistic, period = stat["Stat"], stat["Period"]
	}
	if !a.Filled || metric == nil {
		return nil, nil, nil, errors.New("its metrics cannot be evaluated: want FILL of one")
	}
	return metric, statistic, period, nil
}

func number(value any) int {
	n, _ := value.(float64)
	return int(n)
}
