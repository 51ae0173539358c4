package amazon_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/amazon"
)

func TestLoadNamesEveryProblemOnce(t *testing.T) {
	s := struct {
		AWS      amazon.Settings
		Evidence amazon.ArchiveSettings
		Repair   amazon.RepairSettings
	}{}
	_, err := amazon.Load(&s, []string{
		"KEYTURN_LEDGER=s3://bucket", "KEYTURN_ARCHIVE=dynamodb://table", "KEYTURN_ALERTS_TOPIC=alerts", "KEYTURN_REPAIR=true",
	}, time.Second)
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, want := range []string{
		"KEYTURN_LEDGER is s3://bucket; want dynamodb://TABLE", "KEYTURN_ARCHIVE is dynamodb://table; want s3://BUCKET/PREFIX",
		`KEYTURN_ALERTS_TOPIC: "alerts" is not the ARN`, "KEYTURN_OPERATIONS_TOPIC is not set", "KEYTURN_API_KEY_SECRET is not set",
		"KEYTURN_REPAIR_ROLE is not set", "AWS_REGION is not set", "AWS_ACCESS_KEY_ID is not set",
	} {
		if strings.Count(err.Error(), want) != 1 {
			t.Errorf("the error does not say once %q:\n%v", want, err)
		}
	}
}
