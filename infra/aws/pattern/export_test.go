package pattern

// OfOwn is the pattern for calls of a watching service about the deployment's own; "" if there is none.
func OfOwn(source string, calls []string, own Own) string {
	if watches[source] == nil {
		return ""
	}
	g := group{source: source, detailType: "AWS API Call via CloudTrail"}
	return encode(g.calls(calls, object{"$or": watches[source](own, own.named(source))}))
}
