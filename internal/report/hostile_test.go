package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/version"
)

// Whatever the clouds call things, wherever a name or a reason is shown, it is text in every format.
func TestHostileNames_are_text_in_every_format(t *testing.T) {
	for _, evil := range []string{
		`</script><img src=x onerror=alert(1)>`, `"><svg onload=alert(1)>`, `' onmouseover='alert(1)`, `</style><style>*{}`, "{{.}}", "]]>", "a&b;<",
		"a\x00b\x1b[2J\u202e", "\xff\xfe", strings.Repeat("x", 200),
	} {
		s := checks.Subject{Kind: checks.RegionSubject, ID: evil + "/" + evil, ClusterID: evil, ClusterName: evil, Region: evil, Cloud: checks.AWS, Account: evil}
		failed := checks.Finding{Check: "CMEK-02", Title: "t", Subject: s, Result: checks.Fail, Severity: alert.Critical, Why: evil, Fix: []string{evil}, Grants: []string{evil}, Notice: evil, Incident: evil}
		accepted := failed
		accepted.Exception = &checks.Exception{Check: "CMEK-02", Subject: evil, Owner: evil, Approver: evil, Reason: evil, Expires: noon}
		named := []report.Cluster{{ID: evil, Name: evil, Why: evil}}
		r := report.New(report.Run{Began: noon, Ended: noon, Findings: []checks.Finding{failed, accepted}, Population: report.Population{Listed: 3, Checked: 1, OutOfScope: named, Unread: named}}, version.Version{})
		for format, write := range map[string]func(io.Writer) error{
			"html": r.HTML, "junit": r.JUnit, "ocsf": r.OCSF, "csv": r.CSV, "table": func(out io.Writer) error { return r.Table(out, nil) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(format, err)
			}
			if strings.ContainsAny(b.String(), "\x00\x1b") || strings.Contains(b.String(), "\u202e") && format != "junit" && format != "ocsf" {
				t.Errorf("%s has what controls a terminal, of %q", format, evil)
			}
			switch format {
			case "html":
				root, err := html.Parse(&b)
				if err != nil {
					t.Fatal(err)
				}
				for n := range root.Descendants() {
					for _, a := range n.Attr {
						if n.Data == "script" || n.Data == "img" || strings.HasPrefix(a.Key, "on") {
							t.Errorf("<%s %s=%q> of %q", n.Data, a.Key, a.Val, evil)
						}
					}
				}
			case "junit":
				if err := xml.Unmarshal(b.Bytes(), &struct{ XMLName xml.Name }{}); err != nil {
					t.Errorf("%q: %v", evil, err)
				}
			case "ocsf":
				for line := range strings.Lines(b.String()) {
					if !json.Valid([]byte(line)) {
						t.Errorf("%q: %s", evil, line)
					}
				}
			}
		}
	}
}
