package amazon_test

import (
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

var (
	_ ledger.Store   = (*amazon.Store)(nil)
	_ cmek.KMS       = (*amazon.KMS)(nil)
	_ cmek.Policies  = (*amazon.Policies)(nil)
	_ cmek.Archive   = (*amazon.Archive)(nil)
	_ alert.Notifier = (*amazon.Notifier)(nil)
)
