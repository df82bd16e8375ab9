package qdrantd

import (
	"slices"

	pb "github.com/qdrant/go-client/qdrant"
)

// A payload index changes no answer here, but two: a text index makes text
// conditions compare words, and ordering by a field needs one. It is kept, and
// told in the collection's info.

type createIndex struct {
	path  string
	index *pb.PayloadSchemaInfo
}

var schemaTypes = map[pb.FieldType]pb.PayloadSchemaType{
	pb.FieldType_FieldTypeKeyword:  pb.PayloadSchemaType_Keyword,
	pb.FieldType_FieldTypeInteger:  pb.PayloadSchemaType_Integer,
	pb.FieldType_FieldTypeFloat:    pb.PayloadSchemaType_Float,
	pb.FieldType_FieldTypeGeo:      pb.PayloadSchemaType_Geo,
	pb.FieldType_FieldTypeText:     pb.PayloadSchemaType_Text,
	pb.FieldType_FieldTypeBool:     pb.PayloadSchemaType_Bool,
	pb.FieldType_FieldTypeDatetime: pb.PayloadSchemaType_Datetime,
	pb.FieldType_FieldTypeUuid:     pb.PayloadSchemaType_Uuid,
}

func readCreateIndex(req *pb.CreateFieldIndexCollection) (operation, error) {
	if err := checkFieldName(req.GetFieldName()); err != nil {
		return nil, err
	}
	p, err := parsePath(req.GetFieldName())
	if err != nil {
		return nil, err
	}
	if req.FieldType == nil {
		return nil, invalid("cannot convert field_type")
	}
	schema, ok := schemaTypes[req.GetFieldType()]
	if !ok {
		return nil, badInput("Unable to infer type for the field '%s'. Please specify `field_type`", p)
	}
	params := req.GetFieldIndexParams()
	if params.GetIndexParams() == nil {
		params = nil
	} else if paramsFor(params) != schema {
		return nil, invalid("field_type (%s) and field_index_params do not match", schema)
	}
	return &createIndex{path: p.String(), index: &pb.PayloadSchemaInfo{DataType: schema, Params: params}}, nil
}

func checkFieldName(name string) error {
	if name == "" {
		return validation(rule{"field_name", `value "" invalid, must be at least 1 characters`})
	}
	return nil
}

func paramsFor(params *pb.PayloadIndexParams) pb.PayloadSchemaType {
	switch params.GetIndexParams().(type) {
	case *pb.PayloadIndexParams_KeywordIndexParams:
		return pb.PayloadSchemaType_Keyword
	case *pb.PayloadIndexParams_IntegerIndexParams:
		return pb.PayloadSchemaType_Integer
	case *pb.PayloadIndexParams_FloatIndexParams:
		return pb.PayloadSchemaType_Float
	case *pb.PayloadIndexParams_GeoIndexParams:
		return pb.PayloadSchemaType_Geo
	case *pb.PayloadIndexParams_TextIndexParams:
		return pb.PayloadSchemaType_Text
	case *pb.PayloadIndexParams_BoolIndexParams:
		return pb.PayloadSchemaType_Bool
	case *pb.PayloadIndexParams_DatetimeIndexParams:
		return pb.PayloadSchemaType_Datetime
	case *pb.PayloadIndexParams_UuidIndexParams:
		return pb.PayloadSchemaType_Uuid
	default:
		return pb.PayloadSchemaType_UnknownType
	}
}

func (op *createIndex) bind(*collection) error { return nil }

func (op *createIndex) apply(c *collection, _ uint64) error {
	c.indexes[op.path] = op.index
	return nil
}

type deleteIndex struct{ path string }

func readDeleteIndex(field string) (operation, error) {
	if err := checkFieldName(field); err != nil {
		return nil, err
	}
	p, err := parsePath(field)
	return &deleteIndex{p.String()}, err
}

func (op *deleteIndex) bind(*collection) error { return nil }

func (op *deleteIndex) apply(c *collection, _ uint64) error {
	delete(c.indexes, op.path)
	return nil
}

// indexable says whether an index of a type would hold one of the values.
func indexable(schema pb.PayloadSchemaType, values []any) bool {
	return slices.ContainsFunc(values, func(value any) bool {
		if list, ok := value.([]any); ok {
			return slices.ContainsFunc(list, func(v any) bool { return fits(schema, v) })
		}
		return fits(schema, value)
	})
}

func fits(schema pb.PayloadSchemaType, value any) bool {
	switch v := value.(type) {
	case string:
		_, isTime := parseTime(v)
		_, isUUID := parseUUID(v)
		return schema == pb.PayloadSchemaType_Keyword || schema == pb.PayloadSchemaType_Text ||
			schema == pb.PayloadSchemaType_Datetime && isTime || schema == pb.PayloadSchemaType_Uuid && isUUID
	case int64:
		return schema == pb.PayloadSchemaType_Integer || schema == pb.PayloadSchemaType_Float
	case float64:
		return schema == pb.PayloadSchemaType_Float
	case bool:
		return schema == pb.PayloadSchemaType_Bool
	case map[string]any:
		return schema == pb.PayloadSchemaType_Geo && v["lon"] != nil && v["lat"] != nil
	default:
		return false
	}
}
