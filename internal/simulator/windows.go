package simulator

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// maintenanceWindow is the schema MaintenanceWindow: durations such as "172800s", the offset from Monday 00:00 UTC.
type maintenanceWindow struct {
	OffsetDuration string `json:"offset_duration"`
	WindowDuration string `json:"window_duration"`
}

func (w *World) getMaintenanceWindow(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	if c.maintenance == nil {
		return nil, notFound("the cluster has no maintenance window")
	}
	return c.maintenance, nil
}

func (w *World) setMaintenanceWindow(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	var window maintenanceWindow
	if failed := call.decode(&window); failed != nil {
		return nil, failed
	}
	const week = 7 * 24 * time.Hour
	offset, offsetErr := time.ParseDuration(window.OffsetDuration)
	length, lengthErr := time.ParseDuration(window.WindowDuration)
	if offsetErr != nil || offset < 0 || offset >= week {
		return nil, badRequest("invalid offset_duration %q: want less than a week, as seconds", window.OffsetDuration)
	}
	if lengthErr != nil || length < 6*time.Hour || length >= week {
		return nil, badRequest("invalid window_duration %q: want 6 hours to less than a week, as seconds", window.WindowDuration)
	}
	c.maintenance = &window
	w.auditCluster(call, "AUDIT_LOG_ACTION_SET_CLUSTER_MAINTENANCE_WINDOW", c)
	return window, nil
}

func (w *World) deleteMaintenanceWindow(call *cloudCall) (any, *cloudError) {
	window, failed := w.getMaintenanceWindow(call)
	if failed != nil {
		return nil, failed
	}
	c, _ := w.pathCluster(call)
	c.maintenance = nil
	w.auditCluster(call, "AUDIT_LOG_ACTION_DELETE_CLUSTER_MAINTENANCE_WINDOW", c)
	return window, nil
}

// blackoutWindow is the schema BlackoutWindow.
type blackoutWindow struct {
	ID        string    `json:"id"`
	ClusterID string    `json:"cluster_id"`
	StartTime time.Time `json:"start_time"`
	EndTime   time.Time `json:"end_time"`
}

func (w *World) listBlackoutWindows(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	page, failed := w.pageRequest(call, "blackouts")
	if failed != nil {
		return nil, failed
	}
	result := struct {
		BlackoutWindows []blackoutWindow `json:"blackout_windows"`
		Pagination      *pagination      `json:"pagination"`
	}{BlackoutWindows: []blackoutWindow{}}
	result.Pagination = w.cut(page, len(c.blackouts), func(i int) bool {
		result.BlackoutWindows = append(result.BlackoutWindows, c.blackouts[i])
		return true
	})
	return result, nil
}

func (w *World) createBlackoutWindow(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	if c.plan != cmek.PlanAdvanced {
		return nil, badRequest("blackout windows are supported for ADVANCED clusters only")
	}
	var window blackoutWindow
	if failed := window.change(call); failed != nil {
		return nil, failed
	}
	window.ID, window.ClusterID = w.uuid(), c.id
	c.blackouts = append(c.blackouts, window)
	return window, nil
}

func (w *World) getBlackoutWindow(call *cloudCall) (any, *cloudError) {
	c, i, failed := w.pathBlackoutWindow(call)
	if failed != nil {
		return nil, failed
	}
	return c.blackouts[i], nil
}

func (w *World) updateBlackoutWindow(call *cloudCall) (any, *cloudError) {
	c, i, failed := w.pathBlackoutWindow(call)
	if failed != nil {
		return nil, failed
	}
	window := c.blackouts[i]
	if failed := window.change(call); failed != nil {
		return nil, failed
	}
	c.blackouts[i] = window
	return window, nil
}

func (w *World) deleteBlackoutWindow(call *cloudCall) (any, *cloudError) {
	c, i, failed := w.pathBlackoutWindow(call)
	if failed != nil {
		return nil, failed
	}
	window := c.blackouts[i]
	c.blackouts = slices.Delete(c.blackouts, i, i+1)
	return window, nil
}

// pathBlackoutWindow is the cluster that the path names and the index of its blackout window.
func (w *World) pathBlackoutWindow(call *cloudCall) (*cluster, int, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, 0, failed
	}
	id := call.PathValue("blackout_window_id")
	i := slices.IndexFunc(c.blackouts, func(b blackoutWindow) bool { return b.ID == id })
	if i < 0 {
		return nil, 0, notFound("blackout window '%s' not found", id)
	}
	return c, i, nil
}

// change takes over the times in the body, within the documented bounds: a start at least 7 days ahead, at most 14 days
// long, not beyond three months.
func (b *blackoutWindow) change(call *cloudCall) *cloudError {
	var body struct {
		StartTime *time.Time `json:"start_time"`
		EndTime   *time.Time `json:"end_time"`
	}
	if failed := call.decode(&body); failed != nil {
		return failed
	}
	if body.StartTime != nil {
		b.StartTime = *body.StartTime
	}
	if body.EndTime != nil {
		b.EndTime = *body.EndTime
	}
	switch {
	case b.StartTime.IsZero(), body.StartTime != nil && b.StartTime.Before(call.now.AddDate(0, 0, 7)):
		return badRequest("start_time must be at least 7 days ahead")
	case !b.EndTime.After(b.StartTime),
		b.EndTime.After(b.StartTime.AddDate(0, 0, 14)),
		b.EndTime.After(call.now.AddDate(0, 3, 0)):
		return badRequest("end_time must be at most 14 days after start_time and within three months")
	}
	return nil
}

func (c *cluster) inBlackout(now time.Time) bool {
	return slices.ContainsFunc(c.blackouts, func(b blackoutWindow) bool { return !now.Before(b.StartTime) && now.Before(b.EndTime) })
}
