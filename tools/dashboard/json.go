package dashboard

// What Grafana calls it, as far as we say it.

type dashboardJSON struct {
	UID           string             `json:"uid"`
	Title         string             `json:"title"`
	Description   string             `json:"description"`
	Tags          []string           `json:"tags"`
	Timezone      string             `json:"timezone"`
	Editable      bool               `json:"editable"`
	GraphTooltip  int                `json:"graphTooltip"`
	SchemaVersion int                `json:"schemaVersion"`
	Version       int                `json:"version"`
	Refresh       string             `json:"refresh"`
	Time          timeJSON           `json:"time"`
	Annotations   list[any]          `json:"annotations"`
	Templating    list[variableJSON] `json:"templating"`
	Panels        []panelJSON        `json:"panels"`
}

type timeJSON struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type list[T any] struct {
	List []T `json:"list"`
}

type sourceJSON struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type variableJSON struct {
	Name       string         `json:"name"`
	Label      string         `json:"label"`
	Type       string         `json:"type"`
	Datasource *sourceJSON    `json:"datasource,omitempty"`
	Query      string         `json:"query"`
	Refresh    int            `json:"refresh,omitempty"`
	Sort       int            `json:"sort,omitempty"`
	IncludeAll bool           `json:"includeAll,omitempty"`
	Multi      bool           `json:"multi,omitempty"`
	AllValue   string         `json:"allValue,omitempty"`
	Current    map[string]any `json:"current,omitempty"`
}

type gridJSON struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

type panelJSON struct {
	ID          int            `json:"id"`
	Type        string         `json:"type"`
	Title       string         `json:"title"`
	Description string         `json:"description,omitempty"`
	Datasource  *sourceJSON    `json:"datasource,omitempty"`
	GridPos     gridJSON       `json:"gridPos"`
	Collapsed   bool           `json:"collapsed,omitempty"`
	Targets     []targetJSON   `json:"targets,omitempty"`
	FieldConfig *fieldJSON     `json:"fieldConfig,omitempty"`
	Options     map[string]any `json:"options,omitempty"`
	// Panels is of a row, and empty in one that is open.
	Panels *[]panelJSON `json:"panels,omitempty"`
}

type targetJSON struct {
	Datasource   *sourceJSON `json:"datasource"`
	RefID        string      `json:"refId"`
	Expr         string      `json:"expr"`
	LegendFormat string      `json:"legendFormat,omitempty"`
	Format       string      `json:"format,omitempty"`
	Range        bool        `json:"range"`
	Instant      bool        `json:"instant"`
}

type fieldJSON struct {
	Defaults  defaultsJSON `json:"defaults"`
	Overrides []any        `json:"overrides"`
}

type defaultsJSON struct {
	Unit       string         `json:"unit,omitempty"`
	Min        *float64       `json:"min,omitempty"`
	Max        *float64       `json:"max,omitempty"`
	Color      map[string]any `json:"color"`
	Custom     map[string]any `json:"custom,omitempty"`
	Thresholds thresholdsJSON `json:"thresholds"`
}

type thresholdsJSON struct {
	Mode  string     `json:"mode"`
	Steps []stepJSON `json:"steps"`
}

type stepJSON struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}
