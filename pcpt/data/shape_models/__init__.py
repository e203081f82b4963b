"""Parametric models of ten kinds of object, each of two to four named parts: all that demo and
tests of shapes need. Metres, z up, fronts along +y."""

from pcpt.data.shape_models.furniture import chair, lamp, table
from pcpt.data.shape_models.model import Model, ModelMesh, Part, mesh_of
from pcpt.data.shape_models.tools import guitar, knife, laptop
from pcpt.data.shape_models.vehicles import airplane, rocket
from pcpt.data.shape_models.vessels import bottle, mug

MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model("airplane", ("body", "wing", "tail", "engine"), airplane),
        Model("bottle", ("body", "neck", "cap"), bottle),
        Model("chair", ("seat", "back", "leg", "arm"), chair),
        Model("guitar", ("body", "neck", "head"), guitar),
        Model("knife", ("blade", "handle"), knife),
        Model("lamp", ("base", "pole", "shade"), lamp),
        Model("laptop", ("keyboard", "screen"), laptop),
        Model("mug", ("body", "handle"), mug),
        Model("rocket", ("body", "nose", "fin"), rocket),
        Model("table", ("top", "leg"), table),
    )
}

__all__ = ["MODELS", "Model", "ModelMesh", "Part", "mesh_of"]
