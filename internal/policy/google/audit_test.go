package google

import (
	"reflect"
	"testing"
)

func TestParseAuditLogs(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []AuditLog
		bad        bool
	}{
		{"none", `{"etag":"ACAB"}`, nil, false},
		{"several", `{"etag":"B","auditConfigs":[{"service":"allServices","auditLogConfigs":[{"logType":"ADMIN_READ"}]},` +
			`{"service":"cloudkms.googleapis.com","auditLogConfigs":[{"logType":"DATA_READ","exemptedMembers":["user:a@example.com"]}]}]}`,
			[]AuditLog{{"allServices", "ADMIN_READ", nil}, {"cloudkms.googleapis.com", "DATA_READ", []string{"user:a@example.com"}}}, false},
		{"no policy", `{}`, nil, true},
		{"of another type", `{"etag":"B","auditConfigs":[{"service":"x","auditLogConfigs":[{"logType":5}]}]}`, nil, true},
		{"in another case", `{"etag":"B","auditConfigs":[{"service":"x","auditLogConfigs":[{"LogType":"DATA_READ"}]}]}`, nil, true},
	} {
		got, err := ParseAuditLogs(tt.text)
		if (err != nil) != tt.bad || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}
