package simulator

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// pagination is KeysetPaginationResponse.
type pagination struct {
	NextPage     string `json:"next_page,omitempty"`
	PreviousPage string `json:"previous_page,omitempty"`
}

// pageRequest is what pagination.* in the query asks for.
type pageRequest struct {
	// list names the list and its order; a token of one list does not serve for another.
	list       string
	descending bool
	from       int
	limit      int
}

// pageRequest reads the query. A token is opaque to callers: it holds the list's name and a position.
func (w *World) pageRequest(call *cloudCall, list string) (pageRequest, *cloudError) {
	query := call.URL.Query()
	order := query.Get("pagination.sort_order")
	if order != "" && order != "ASC" && order != "DESC" {
		return pageRequest{}, badRequest("invalid pagination.sort_order %q: want ASC or DESC", order)
	}
	p := pageRequest{list: list + order, descending: order == "DESC", limit: w.number(PageLimit)}
	if asked := query.Get("pagination.limit"); asked != "" {
		limit, err := strconv.Atoi(asked)
		if err != nil || limit < 0 {
			return pageRequest{}, badRequest("invalid pagination.limit %q", asked)
		}
		if limit > 0 {
			p.limit = min(p.limit, limit)
		}
	}
	if token := query.Get("pagination.page"); token != "" {
		decoded, err := base64.RawURLEncoding.DecodeString(token)
		position, ok := strings.CutPrefix(string(decoded), p.list+":")
		if p.from, err = atoi(position, err); err != nil || !ok || p.from < 0 {
			return pageRequest{}, badRequest("invalid pagination.page")
		}
	}
	return p, nil
}

func (p pageRequest) token(from int) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s:%d", p.list, from))
}

// cut walks a list of n entries in the order asked for and keeps those that take accepts, up to the limit. Work grows with
// the page, not with the list.
func (w *World) cut(p pageRequest, n int, take func(i int) bool) *pagination {
	position, taken := p.from, 0
	for ; position < n && taken < p.limit; position++ {
		i := position
		if p.descending {
			i = n - 1 - position
		}
		if take(i) {
			taken++
		}
	}
	result := &pagination{}
	if position < n {
		result.NextPage = p.token(position)
	}
	if p.from > 0 {
		result.PreviousPage = p.token(max(0, p.from-p.limit))
	}
	if *result == (pagination{}) && w.is(SinglePage, "null") {
		return nil
	}
	return result
}
