package policy

import "strings"

// Managed is the document of a policy that AWS manages itself, by its ARN; ok is false for every policy that is not known here. A
// policy of a customer is not known by its name.
func Managed(arn string) (d Document, ok bool) {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 || parts[0] != "arn" || !strings.HasPrefix(parts[1], "aws") || parts[2] != "iam" || parts[3] != "" || parts[4] != "aws" {
		return Document{}, false
	}
	if parts[5] == "policy/AWSDenyAll" {
		denial := Statement{Index: 1, Sid: "DenyAll", Effect: Deny, Actions: []string{"*"}, Resources: []string{"*"}}
		return Document{Version: "2012-10-17", Statements: []Statement{denial}}, true
	}
	return Document{}, false
}
