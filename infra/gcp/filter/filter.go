// Package filter writes the filter of the log sink that feeds the functions on Google Cloud, from the table of package events and from
// what a function subscribes to: what selects an entry and what understands it cannot drift apart.
//
// The language is that of docs.cloud.google.com/logging/docs/view/logging-query-language. AND and OR are never mixed without parentheses:
// OR binds closer than AND there, which few readers expect.
package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Limit is the number of characters that a filter can have.
const Limit = 20_000

// OwnPlaceholder is the address in the generated files of the Terraform module for which the module puts those of its own service accounts:
// they are known only where it is deployed.
const OwnPlaceholder = "own@keyturn.invalid"

// Options say what a deployment adds to the filter.
type Options struct {
	// DataAccess selects entries of Data Access logs as well: use of keys and of service accounts. Somebody must have enabled these logs.
	DataAccess bool
	// Own are the e-mail addresses of keyturn's own service accounts, whose use of keys is no news. Changes that they make are selected
	// all the same: they have no permission to make any, so somebody may have taken one over.
	Own []string
}

// Sink is the filter for a function that subscribes to the changes. It is "" if no log entry reports any of them.
func Sink(subscribes []cmek.Change, o Options) (string, error) {
	audit := map[string]map[string][]string{} // names by log and service
	var alternatives, logs []string
	for _, row := range events.Google() {
		if !slices.Contains(subscribes, row.Change) && !slices.Contains(subscribes, row.Failed) || row.ReadOnly && !o.DataAccess {
			continue
		}
		switch row.DetailType {
		case "feed": // no log
		case "activity", "data_access":
			if audit[row.DetailType] == nil {
				audit[row.DetailType] = map[string][]string{}
				logs = append(logs, row.DetailType)
			}
			if names := audit[row.DetailType][row.Source]; !slices.Contains(names, row.Name) {
				audit[row.DetailType][row.Source] = append(names, row.Name)
			}
		default: // a platform log has few entries, and names the event in its payload
			if line := logID(row.Source + "/" + row.DetailType); !slices.Contains(alternatives, line) {
				alternatives = append(alternatives, line)
			}
		}
	}
	for _, log := range logs {
		line := "(" + logID("cloudaudit.googleapis.com/"+log)
		if log == "data_access" && len(o.Own) > 0 {
			own, err := anyOf(o.Own)
			if err != nil {
				return "", err
			}
			line += " AND (NOT protoPayload.authenticationInfo.principalEmail=" + own + ")"
		}
		alternatives = append(alternatives, line+" AND (\n  "+strings.Join(calls(audit[log]), "\n  OR ")+"\n))")
	}
	filter := strings.Join(alternatives, "\nOR ")
	if len(filter) > Limit {
		return "", fmt.Errorf("write filter: %d characters are more than the %d that a filter can have", len(filter), Limit)
	}
	return filter, nil
}

// calls select the calls of each service. Some services write the names of methods in full, others their last segment alone.
func calls(services map[string][]string) (lines []string) {
	for service, names := range services {
		lines = append(lines, fmt.Sprintf(`(protoPayload.serviceName=%q AND protoPayload.methodName=~"(^|[.])(%s)$")`, service, strings.Join(names, "|")))
	}
	slices.Sort(lines)
	return lines
}

func logID(id string) string { return fmt.Sprintf("log_id(%q)", id) }

// anyOf is the right side of a comparison with several texts.
func anyOf(emails []string) (string, error) {
	quoted := make([]string, len(emails))
	for i, email := range emails {
		if name, domain, ok := strings.Cut(email, "@"); !ok || name == "" || domain == "" || strings.Trim(email, "abcdefghijklmnopqrstuvwxyz0123456789@.-") != "" {
			return "", fmt.Errorf("write filter: %q is not the e-mail address of a service account", email)
		}
		quoted[i] = fmt.Sprintf("%q", email)
	}
	return "(" + strings.Join(quoted, " OR ") + ")", nil
}
