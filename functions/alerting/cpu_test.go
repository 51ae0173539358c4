package alerting

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// hostileKeyPolicy is a key policy within AWS's limit of 32 KB whose statements allow many actions that no catalog knows.
func hostileKeyPolicy(statements, actions int) string {
	var list []string
	for s := range statements {
		var names []string
		for a := range actions {
			names = append(names, fmt.Sprintf(`"kms:%x%x*"`, s, a))
		}
		list = append(list, fmt.Sprintf(`{"Effect":"Allow","Principal":{"AWS":"%012d"},"Action":[%s],"Resource":"*"}`, s, strings.Join(names, ",")))
	}
	return `{"Version":"2012-10-17","Statement":[` + rootStatement + "," + strings.Join(list, ",") + `]}`
}

// The judgement of whatever AWS takes as a policy leaves time to publish the alert.
func TestJudge_laboriousPolicy(t *testing.T) {
	for _, shape := range [][2]int{{1, 2_000}, {250, 2}} {
		policy := hostileKeyPolicy(shape[0], shape[1])
		if len(policy) > 32<<10 {
			t.Fatalf("%v: %d bytes", shape, len(policy))
		}
		var uses []Use
		docs := Documents{Permissions: map[cmek.Principal]Document{}, NotedKeyPolicies: map[cmek.KeyURI]Noted{key: {Text: strings.Replace(policy, "Root", "Other", 1), Since: time.Unix(0, 0)}}}
		for i := range 40 {
			p := cmek.Principal(fmt.Sprint(role, i))
			uses = append(uses, Use{ClusterID: "c", CloudAccount: crlAccount, Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: key, AuthPrincipal: p}})
			docs.Permissions[p] = Document{Text: noPolicies, Read: true}
		}
		e := cmek.Event{ID: "e", Source: "aws.kms/AWS API Call via CloudTrail/PutKeyPolicy", Change: cmek.ChangeKeyPolicy, Key: key, Account: account, Time: time.Unix(1_000_000, 0), Policy: strings.Replace(policy, `"kms:00*"`, `"kms:zz*"`, 1)}
		began := time.Now()
		Judge(e, docs, uses)
		if took := time.Since(began); took > time.Second {
			t.Errorf("a policy of %d statements with %d actions takes %s to judge for 40 principals", shape[0], shape[1], took)
		} else {
			t.Logf("%v: %s", shape, took)
		}
	}
}
