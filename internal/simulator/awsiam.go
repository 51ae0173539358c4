package simulator

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// AWSIAM serves the reads of AWS IAM that show a cluster's role, in its query protocol (docs.aws.amazon.com/IAM/latest/APIReference):
// GetRole, ListRolePolicies and ListAttachedRolePolicies. The roles are those that the clusters' key infos name: each trusts the
// account of its clusters with the organization's id as external id, and has no policies of its own. Every other call is refused.
func (w *World) AWSIAM() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(rw, r.Body, mostBody)
		action, role := r.PostFormValue("Action"), r.PostFormValue("RoleName")
		trust, known := w.trustOf(role)
		rw.Header().Set("Content-Type", "text/xml")
		switch {
		case action != "GetRole" && action != "ListRolePolicies" && action != "ListAttachedRolePolicies":
			iamError(rw, http.StatusBadRequest, "InvalidAction", "the simulator does not offer "+action)
		case !known:
			iamError(rw, http.StatusNotFound, "NoSuchEntity", "The role with name "+role+" cannot be found.")
		case action == "GetRole":
			_, _ = fmt.Fprintf(rw, `<GetRoleResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetRoleResult><Role><RoleName>%s</RoleName><AssumeRolePolicyDocument>%s</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>`,
				escaped(role), url.PathEscape(trust))
		default:
			_, _ = fmt.Fprintf(rw, `<%[1]sResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><%[1]sResult><IsTruncated>false</IsTruncated></%[1]sResult></%[1]sResponse>`, action)
		}
	})
}

// isIAM reports whether a POST to the root is a call of IAM: KMS names its operations in a header.
func isIAM(r *http.Request) bool {
	return r.Header.Get("X-Amz-Target") == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// trustOf is the trust policy of the role of that name, and whether a cluster assumes one.
func (w *World) trustOf(role string) (trust string, known bool) {
	w.enter()
	defer w.mu.Unlock()
	var accounts []string
	for _, c := range w.clusters.byName {
		for _, region := range c.regions {
			for _, k := range region.keys {
				if k.Spec.AuthPrincipal.IsRole() && k.Spec.AuthPrincipal.Name() == role {
					accounts = append(accounts, c.accountID)
				}
			}
		}
	}
	slices.Sort(accounts)
	accounts = slices.Compact(accounts)
	document, _ := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"AWS": accounts},
		"Condition": map[string]any{"StringEquals": map[string]any{"sts:ExternalId": w.organization.ID}},
	}}})
	return string(document), len(accounts) > 0
}

func iamError(rw http.ResponseWriter, status int, code, message string) {
	rw.WriteHeader(status)
	_, _ = fmt.Fprintf(rw, `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`,
		code, escaped(message))
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}
