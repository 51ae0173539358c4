package main

import (
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/explain"
	"github.com/keyturn/keyturn/internal/alert"
)

// A role that clusters may use is not taken for keyturn's own by how its name begins: whoever makes a role chooses its name.
func TestExplainJudgesARoleByWhatItDoesAndNotByItsName(t *testing.T) {
	for _, role := range []string{"crdb-cmek", "keyturn-orders-cmek", "keyturn"} {
		payload := `{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333"},` +
			`"eventTime":"2025-01-01T00:00:00Z","eventSource":"iam.amazonaws.com","eventName":"DeleteRole","awsRegion":"us-east-1","requestParameters":{"roleName":"` + role + `"},` +
			`"eventID":"e1","eventType":"AwsApiCall","recipientAccountId":"111122223333"}`
		x := decodeJSON[explain.Explanation](t, explainText(t.Context(), payload, "-o", "json").out)
		if x.Severity != alert.Critical {
			t.Errorf("role %s was deleted: %s because %s; want critical", role, x.Severity, x.Reason)
		}
	}
}
