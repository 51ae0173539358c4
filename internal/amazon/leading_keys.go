package amazon

import "github.com/keyturn/keyturn/internal/ledger"

// LeadingKeys is the condition of a policy under which these items can be written, and no others. It compares partition keys,
// which is all that IAM sees of an item; an operator with a modifier is required, since a call may concern several
// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html).
func LeadingKeys(items []ledger.Items) map[string]any {
	const key = "dynamodb:LeadingKeys"
	var like, but []string
	for _, i := range items {
		like = append(like, partition(i.Kind, i.Prefix)+"*")
		if i.But != "" {
			but = append(but, partition(i.Kind, i.But))
		}
	}
	condition := map[string]any{"ForAllValues:StringLike": map[string]any{key: like}}
	if but != nil {
		condition["ForAllValues:StringNotEquals"] = map[string]any{key: but}
	}
	return condition
}
