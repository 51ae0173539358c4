package planned_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/compliance/planned"
)

// TestUnknown_isNeverFine tries each value of each change of the tables as known after apply: what was said about its resource is then still
// a finding there, or the resource itself is one.
func TestUnknown_isNeverFine(t *testing.T) {
	tried := 0
	for _, r := range slices.Concat(awsRows(), googleRows()) {
		found := judge(t, planOf(r.changes...), r.known)
		for i, c := range r.changes {
			if c.after == nil || c.before != nil && equal(c.before, c.after) && c.unknown == nil && c.actions == nil {
				continue
			}
			for attribute := range c.after {
				if slices.Contains([]string{"tags", "labels"}, attribute) || strings.HasPrefix(c.address, "aws_kms_custom") {
					continue
				}
				tried++
				other := c
				other.after, other.unknown = with(c.after, object{attribute: nil}), maps.Clone(c.unknown)
				if other.unknown == nil {
					other.unknown = object{}
				}
				other.unknown[attribute] = true
				changes := slices.Clone(r.changes)
				changes[i] = other
				less := judge(t, planOf(changes...), r.known)
				for _, f := range found.Findings {
					if !slices.ContainsFunc(less.Findings, func(l planned.Finding) bool { return l.Address == f.Address || l.Address == c.address }) {
						t.Errorf("%s: with %s of %s known after apply, %q is gone: %q", r.name, attribute, c.address, fmt.Sprint(f.Result, " ", f.Question, " ", f.Address), said(less))
					}
				}
			}
		}
	}
	if tried < 150 {
		t.Errorf("only %d values were tried", tried)
	}
}

// TestUnknown_isNeverFineInPlans is the same of the plans that Terraform made, whose configuration says what an unknown value will be made of.
func TestUnknown_isNeverFineInPlans(t *testing.T) {
	for _, name := range []string{"google-losses", "google-exposed", "google-denied"} {
		found := judge(t, fixture(t, name), planned.Known{})
		var plan struct {
			Changes []map[string]any `json:"resource_changes"`
		}
		decode(t, fixture(t, name), &plan)
		for i, c := range plan.Changes {
			after, _ := c["change"].(object)["after"].(object)
			for attribute := range after {
				var whole object
				decode(t, fixture(t, name), &whole)
				change := whole["resource_changes"].([]any)[i].(object)["change"].(object)
				if slices.Contains(change["actions"].([]any), "no-op") {
					continue
				}
				change["after"].(object)[attribute] = nil
				change["after_unknown"].(object)[attribute] = true
				less := judge(t, []byte(text(whole)), planned.Known{})
				for _, f := range found.Findings {
					if !slices.ContainsFunc(less.Findings, func(l planned.Finding) bool { return l.Address == f.Address || l.Address == c["address"] }) {
						t.Errorf("%s: with %s of %s known after apply, %s %s %s is gone", name, attribute, c["address"], f.Result, f.Question, f.Address)
					}
				}
			}
		}
	}
}
