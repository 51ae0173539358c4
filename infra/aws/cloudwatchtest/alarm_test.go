package cloudwatchtest

import (
	"strings"
	"testing"
	"time"
)

var (
	noon   = time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC)
	metric = Metric{"keyturn", "M", ""}
)

// series publishes values of one period each, the last one ending at noon: 0, X for one that breaches, and - for none.
func series(text string, period time.Duration) Metrics {
	m := Metrics{}
	words := strings.Fields(text)
	for i, word := range words {
		at := noon.Add(-time.Duration(len(words)-i) * period)
		if value := map[string]float64{"X": 1}[word]; word != "-" {
			m.Put(metric, at, at, value)
		}
	}
	return m
}

// The tables of docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html. "" is: as it was.
func TestMissingDataIsTreatedAsDocumented(t *testing.T) {
	for _, row := range []struct {
		points                                   string
		most                                     int
		missing, ignore, breaching, notBreaching State
	}{
		{"0 - X - X", 3, OK, OK, OK, OK},
		{"0 - - - -", 3, OK, OK, OK, OK},
		{"- - - - -", 3, Insufficient, "", InAlarm, OK},
		{"0 X X - X", 3, InAlarm, InAlarm, InAlarm, InAlarm},
		{"- - X - -", 3, InAlarm, "", InAlarm, OK},
		{"0 - X - X", 2, InAlarm, InAlarm, InAlarm, InAlarm},
		{"0 0 X 0 X", 2, InAlarm, InAlarm, InAlarm, InAlarm},
		{"0 - X - -", 2, OK, OK, InAlarm, OK},
		{"- - - - 0", 2, OK, OK, InAlarm, OK},
		{"- - - X -", 2, InAlarm, "", InAlarm, OK},
	} {
		for treatment, want := range map[string]State{"missing": row.missing, "ignore": row.ignore, "breaching": row.breaching, "notBreaching": row.notBreaching} {
			for _, before := range []State{OK, InAlarm} {
				a := Alarm{Metric: metric, Statistic: "Sum", Period: 5 * time.Minute, EvaluationPeriods: 3, DatapointsToAlarm: row.most,
					Comparison: "GreaterThanThreshold", Missing: treatment}
				expected := want
				if want == "" {
					expected = before
				}
				if got := a.State(series(row.points, a.Period), noon, 2, before); got != expected {
					t.Errorf("%s, %d of 3, %s: the state is %s after %s, want %s", row.points, row.most, treatment, got, before, expected)
				}
			}
		}
	}
}

func TestAFilledMetricHasNoMissingData(t *testing.T) {
	a := Alarm{Metric: metric, Statistic: "Sum", Period: time.Minute, EvaluationPeriods: 3, DatapointsToAlarm: 3, Threshold: 1, Comparison: "LessThanThreshold", Missing: "breaching"}
	for points, want := range map[string][2]State{"X X - - -": {OK, InAlarm}, "X X X - -": {OK, OK}, "- - - - -": {InAlarm, InAlarm}, "- - - - X": {OK, OK}} {
		for i, filled := range []bool{false, true} {
			a.Filled = filled
			if got := a.State(series(points, a.Period), noon, 2, OK); got != want[i] {
				t.Errorf("%s, filled: %t: the state is %s, want %s", points, filled, got, want[i])
			}
		}
	}
}

func TestTheWindowSlidesAndSeesWhatIsKnown(t *testing.T) {
	a := Alarm{Metric: metric, Statistic: "Sum", Period: 5 * time.Minute, EvaluationPeriods: 1, DatapointsToAlarm: 1, Threshold: 1, Comparison: "GreaterThanThreshold", Missing: "notBreaching"}
	m := Metrics{}
	m.Put(metric, noon, noon.Add(2*time.Minute), 1)
	m.Put(metric, noon.Add(4*time.Minute), noon.Add(5*time.Minute), 1)
	changes := a.History(m, noon.Add(-time.Hour), noon.Add(time.Hour), 0)
	want := []Change{{noon.Add(5 * time.Minute), InAlarm}, {noon.Add(6 * time.Minute), OK}}
	if len(changes) != 2 || changes[0] != want[0] || changes[1] != want[1] {
		t.Errorf("the state changes %v, want %v", changes, want)
	}
}

func TestStatistics(t *testing.T) {
	m := Metrics{}
	for i, value := range []float64{3, 1, 2} {
		m.Put(metric, noon.Add(time.Duration(i)*time.Second), noon, value)
	}
	for statistic, want := range map[string]float64{"Sum": 6, "Maximum": 3, "Minimum": 1, "Average": 2, "SampleCount": 3} {
		if got, ok := (Alarm{Statistic: statistic}).statistic(m[metric], noon, noon.Add(time.Minute), noon); !ok || got != want {
			t.Errorf("%s is %v, want %v", statistic, got, want)
		}
	}
	for comparison, want := range map[string][3]bool{ // below, at and above the threshold
		"GreaterThanThreshold": {false, false, true}, "GreaterThanOrEqualToThreshold": {false, true, true},
		"LessThanThreshold": {true, false, false}, "LessThanOrEqualToThreshold": {true, true, false},
	} {
		for i := range want {
			if got := (Alarm{Comparison: comparison, Threshold: 1}).breaches(float64(i)); got != want[i] {
				t.Errorf("%s: %d breaches 1: %t", comparison, i, got)
			}
		}
	}
}

func TestWhatCannotBeEvaluatedIsRefused(t *testing.T) {
	good := func() map[string]any {
		return map[string]any{"AlarmName": "a", "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60.0, "EvaluationPeriods": 2.0, "Threshold": 1.0,
			"ComparisonOperator": "GreaterThanThreshold", "Dimensions": []any{map[string]any{"Name": "b", "Value": "2"}, map[string]any{"Name": "a", "Value": "1"}}}
	}
	name := func(value any) string { return value.(string) }
	a, err := Read(good(), name)
	if want := (Metric{"n", "m", "a=1,b=2"}); err != nil || a.Metric != want || a.DatapointsToAlarm != 2 || a.Missing != "missing" {
		t.Errorf("the alarm is %+v (%v)", a, err)
	}
	for property, value := range map[string]any{
		"ExtendedStatistic": "p99", "ThresholdMetricId": "x", "EvaluateLowSampleCountPercentile": "ignore", "Statistic": "p99", "TreatMissingData": "good",
		"ComparisonOperator": "LessThanLowerThreshold", "Period": 10.0, "EvaluationPeriods": nil, "AlarmName": nil, "AlarmRule": "ALARM(x)",
		"Metrics": []any{map[string]any{"Expression": "m1+m2"}},
	} {
		bad := good()
		bad[property] = value
		if a, err := Read(bad, name); err == nil {
			t.Errorf("with %s %v it is read as %+v, want an error", property, value, a)
		}
	}
}
