package cloudwatchtest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Delay is how long it takes at most until a metric of an active service is known, and a metric that a filter makes of a log. AWS
// promises nothing; both are usually there within a minute.
const Delay = 2 * time.Minute

// Invoked publishes the metrics of an invocation of a Lambda function. Their time is that of its beginning
// (docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html).
func Invoked(metrics Metrics, function string, began time.Time, took time.Duration, failed bool) {
	errors := 0.0
	if failed {
		errors = 1
	}
	put := lambda(metrics, function, began, began.Add(took))
	put("Invocations", 1)
	put("Errors", errors)
	put("Duration", float64(took.Milliseconds()))
	put("Throttles", 0)
}

// Throttled publishes the metrics of an invocation that was not let through. It is no invocation.
func Throttled(metrics Metrics, function string, at time.Time) {
	lambda(metrics, function, at, at)("Throttles", 1)
}

func lambda(metrics Metrics, function string, at, ended time.Time) func(name string, value float64) {
	return func(name string, value float64) {
		metrics.Put(Metric{"AWS/Lambda", name, Dimensions(map[string]string{"FunctionName": function})}, at.Truncate(time.Minute), ended.Add(Delay), value)
	}
}

// Filter is a metric filter of a log group, as CloudFormation has it.
type Filter struct {
	Log, Pattern string
	Metric       Metric // without dimensions
	Value        string
	// Dimensions are fields of a line, by the dimensions' names.
	Dimensions map[string]string
}

// Log writes a line to a log group, and publishes what its filters make of it.
func Log(metrics Metrics, filters []Filter, log, line string, at time.Time) error {
	var fields map[string]any
	_ = json.Unmarshal([]byte(line), &fields) // a filter of words takes any line
	for _, f := range filters {
		if f.Log != log {
			continue
		}
		matches, err := Matches(f.Pattern, line)
		if err != nil {
			return err
		}
		value, constant := 0.0, true
		if name, ok := strings.CutPrefix(f.Value, "$."); ok {
			value, constant = fields[name].(float64)
		} else if _, err := fmt.Sscanf(f.Value, "%g", &value); err != nil {
			return fmt.Errorf("value %q of a metric filter: %w", f.Value, err)
		}
		metric, dimensions := f.Metric, map[string]string{}
		for name, field := range f.Dimensions {
			dimensions[name], _ = fields[strings.TrimPrefix(field, "$.")].(string)
		}
		metric.Dimensions = Dimensions(dimensions)
		if matches && constant {
			metrics.Put(metric, at, at.Add(Delay), value)
		}
	}
	return nil
}

var (
	words      = regexp.MustCompile(`^"([^"]+)"$`)
	comparison = regexp.MustCompile(`^\$\.(\w+) (?:= "([^"]*)"|= (\*)|(NOT EXISTS))$`)
)

// Matches reports whether a filter pattern matches a line
// (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html), as far as our patterns go: quoted words, or comparisons
// of a JSON line's fields that are joined by && or by ||.
func Matches(pattern, line string) (bool, error) {
	if m := words.FindStringSubmatch(pattern); m != nil {
		return strings.Contains(line, m[1]), nil
	}
	inner, ok := strings.CutPrefix(pattern, "{ ")
	inner, closed := strings.CutSuffix(inner, " }")
	if !ok || !closed || strings.Contains(inner, "&&") && strings.Contains(inner, "||") {
		return false, fmt.Errorf("filter pattern %q is not understood", pattern)
	}
	joint, all := " || ", false
	if strings.Contains(inner, "&&") {
		joint, all = " && ", true
	}
	var fields map[string]any
	isJSON := json.Unmarshal([]byte(line), &fields) == nil
	result := all
	for part := range strings.SplitSeq(inner, joint) {
		m := comparison.FindStringSubmatch(part)
		if m == nil {
			return false, fmt.Errorf("filter pattern %q is not understood: %q", pattern, part)
		}
		value, there := fields[m[1]]
		holds := there && value == m[2]
		switch {
		case m[3] != "":
			holds = there
		case m[4] != "":
			holds = !there
		}
		if all {
			result = result && holds
		} else {
			result = result || holds
		}
	}
	return result && isJSON, nil
}
