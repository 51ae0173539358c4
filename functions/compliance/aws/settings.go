package main

import (
	"log/slog"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/trailcheck/cloudtrail"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/detection"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Compliance compliance.Settings
	AWS        amazon.Settings
	Evidence   amazon.ArchiveSettings
	Declared   amazon.DeclarationSettings
	Detection  amazon.DetectionSettings
	Cloud      cockroachcloud.Settings
	// RotationSecret is that with the API key of rotation, whose age is checked, too; "" for none.
	RotationSecret string `env:"KEYTURN_ROTATION_API_KEY_SECRET"`
	// AuditSecret is that with the API key that may read the organization's audit log; "" for none.
	AuditSecret string `env:"KEYTURN_AUDIT_API_KEY_SECRET"`
	// SecurityHub: failures are reported there, too.
	SecurityHub bool       `env:"KEYTURN_SECURITY_HUB"`
	LogLevel    slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

// reads is how the function reads AWS.
func (s *settings) reads(aws amazon.Config) compliance.AWS {
	roles := s.AWS.Readers()
	keys, policies := amazon.NewKMS(aws, roles), amazon.NewPolicies(aws, roles)
	secrets := []compliance.Secret{amazon.NewSecret(aws, s.AWS.APIKeySecret)}
	if s.RotationSecret != "" {
		secrets = append(secrets, amazon.NewSecret(aws, s.RotationSecret))
	}
	return compliance.AWS{
		Keys: keys, Use: keys, Aliases: keys, Policies: policies, Roles: policies, Trails: cloudtrail.NewOwn(aws),
		Log: amazon.NewUseLog(aws, roles), Rules: detection.NewRules(aws, roles), Secrets: secrets,
	}
}

// audit reads the audit log, or is nil if there is no credential for it.
func (s *settings) audit(aws amazon.Config) (compliance.Audit, error) {
	if s.AuditSecret == "" {
		return nil, nil
	}
	return cockroachcloud.NewAuditor(s.Cloud.Options(amazon.NewSecret(aws, s.AuditSecret).Value))
}

// hub is Security Hub, or nil if nothing is reported there.
func (s *settings) hub(aws amazon.Config) compliance.Hub {
	if !s.SecurityHub {
		return nil
	}
	return amazon.NewSecurityHub(aws)
}
