package google

import "fmt"

// AuditLog is one kind of Data Access logs that an allow policy switches on for a service (google.iam.v1.AuditConfig).
type AuditLog struct {
	// Service is for example cloudkms.googleapis.com, or allServices. LogType is ADMIN_READ, DATA_READ or DATA_WRITE.
	Service, LogType string
	// Exempted are the members whose calls are not logged.
	Exempted []string
}

// ParseAuditLogs reads which Data Access logs an allow policy of a project, folder or organization switches on, as getIamPolicy returns it. A
// text that is no policy is an error.
func ParseAuditLogs(text string) (logs []AuditLog, err error) {
	if _, err := ParsePolicy(text); err != nil {
		return nil, err
	}
	var p struct {
		Configs []struct {
			Service string `json:"service"`
			Logs    []struct {
				LogType  string   `json:"logType"`
				Exempted []string `json:"exemptedMembers"`
			} `json:"auditLogConfigs"`
		} `json:"auditConfigs"`
	}
	if err := parse(text, &p); err != nil {
		return nil, fmt.Errorf("parse audit configuration: %w", err)
	}
	for _, c := range p.Configs {
		for _, log := range c.Logs {
			logs = append(logs, AuditLog{c.Service, log.LogType, log.Exempted})
		}
	}
	return logs, nil
}
