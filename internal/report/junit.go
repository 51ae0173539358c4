package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
)

type suites struct {
	XMLName  xml.Name `xml:"testsuites"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Suites   []suite  `xml:"testsuite"`
}

type suite struct {
	Name      string `xml:"name,attr"`
	Tests     int    `xml:"tests,attr"`
	Failures  int    `xml:"failures,attr"`
	Errors    int    `xml:"errors,attr"`
	Skipped   int    `xml:"skipped,attr"`
	Timestamp string `xml:"timestamp,attr"`
	// Properties come before the cases.
	Properties []property `xml:"properties>property,omitempty"`
	Cases      []testCase `xml:"testcase"`
}

type property struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type testCase struct {
	Name  string   `xml:"name,attr"`
	Class string   `xml:"classname,attr"`
	Fail  *problem `xml:"failure,omitempty"`
	Error *problem `xml:"error,omitempty"`
	Skip  *problem `xml:"skipped,omitempty"`
}

type problem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes the report as a test report: a suite for each check, with a case for the check itself and one for each failure and each
// ERROR. A check without a meaning here and an accepted failure are skipped. Clusters that were not read are a suite of their own.
func (r Report) JUnit(out io.Writer) error {
	all := suites{Name: "keyturn check"}
	population := suite{Name: "population"}
	for _, c := range r.Population.Unread {
		population.Cases = append(population.Cases, testCase{Name: named(c), Error: &problem{Message: c.Why, Type: string(checks.Error)}})
	}
	if more := r.Population.Missing() - len(r.Population.Unread); more > 0 {
		population.Cases = append(population.Cases, testCase{Name: plural(more, "more cluster"), Error: &problem{Message: "not read, or not reached", Type: string(checks.Error)}})
	}
	if len(population.Cases) == 0 {
		population.Cases = []testCase{{Name: "every cluster was read"}}
	}
	if r.SinceUnread != "" {
		population.Properties = []property{{"since_unread", r.SinceUnread}}
	}
	list := []suite{population}
	byCheck := map[string][]checks.Finding{}
	for _, f := range r.Findings {
		byCheck[f.Check] = append(byCheck[f.Check], f)
	}
	for _, c := range checks.Catalog() {
		if findings := byCheck[c.ID]; len(findings) > 0 {
			list = append(list, suite{Name: c.ID + " " + c.Title, Cases: casesOf(c, findings)})
		}
	}
	for _, s := range list {
		s.Timestamp = r.Ended.UTC().Format(time.RFC3339)
		for i := range s.Cases {
			s.Cases[i].Class = "keyturn." + strings.ReplaceAll(s.Name, ".", " ")
			s.count(s.Cases[i])
		}
		all.Tests, all.Failures, all.Errors, all.Skipped = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors, all.Skipped+s.Skipped
		all.Suites = append(all.Suites, s)
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err == nil {
		_, err = io.WriteString(out, xml.Header+string(text)+"\n")
	}
	if err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	return nil
}

func (s *suite) count(c testCase) {
	s.Tests++
	switch {
	case c.Fail != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skip != nil:
		s.Skipped++
	}
}

func casesOf(c checks.Check, findings []checks.Finding) []testCase {
	var cases []testCase
	counts := map[checks.Result]int{}
	for _, f := range findings {
		counts[f.Result]++
		p := &problem{Message: f.Why, Type: string(f.Severity), Text: strings.Join(f.Fix, "\n")}
		one := testCase{Name: Name(f.Subject)}
		switch {
		case f.Result == checks.Error:
			one.Error = p
		case f.Result == checks.Fail && f.Exception != nil:
			counts[checks.Fail]--
			one.Skip = &problem{Message: fmt.Sprintf("accepted by %s until %s: %s", f.Exception.Approver, f.Exception.Expires.UTC().Format(time.DateOnly), f.Exception.Reason)}
		case f.Result == checks.Fail:
			one.Fail = p
		default:
			continue
		}
		cases = append(cases, one)
	}
	whole := testCase{Name: c.Clause}
	says := fmt.Sprintf("of %d: %d passed, %d failed, %d without an answer", len(findings), counts[checks.Pass], counts[checks.Fail], counts[checks.Error])
	switch {
	case counts[checks.Fail] > 0:
		whole.Fail = &problem{Message: says, Type: string(c.Severity())}
	case counts[checks.Error] > 0:
		whole.Error = &problem{Message: says, Type: string(c.Severity())}
	case counts[checks.Pass] == 0:
		whole.Skip = &problem{Message: "nothing that it is about"}
	}
	return append([]testCase{whole}, cases...)
}
