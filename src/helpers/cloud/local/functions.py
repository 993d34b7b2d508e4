"""Functions and classes: what was declared of each."""

from modal_proto import api_pb2 as pb

from helpers.cloud.local.rules import refuse

__all__ = ["Functions", "gpu_as_written"]

_FORMATS = [pb.DATA_FORMAT_PICKLE]


def gpu_as_written(gpu):
    """A request for GPUs as it stands in an app: ``"H100"``, ``"H100:2"``; empty for none."""
    return f"{gpu.gpu_type}:{gpu.count}" if gpu.count > 1 else gpu.gpu_type


class Functions:
    """Answers what concerns Functions and classes, and keeps their definitions."""

    def __init__(self, new_id):
        self.new_id = new_id
        self.definitions, self.choices = {}, {}  # Function, and its GPUs in order of preference, by id
        self.instances = {}  # (id of the class' Function, parameters), by id of an instance

    def names(self):
        """Names of all Functions, in the order in which they came."""
        return [function.function_name for function in self.definitions.values()]

    def named(self, name):
        """The definition of a Function.

        Raises
        ------
        KeyError
            If no such Function was declared.
        """
        for function in self.definitions.values():
            if function.function_name == name:
                return function
        raise KeyError(f"no Function {name} was recorded, only {', '.join(self.names()) or 'none'}")

    def gpus(self, name):
        """GPUs of a Function as it was written, ``["H100:2"]``; several are alternatives in order of preference."""
        (function_id,) = [id for id, function in self.definitions.items() if function.function_name == name]
        return self.choices[function_id]

    def called(self, function_id):
        """The definition behind an id that is called, and the parameters of its instance."""
        function_id, parameters = self.instances.get(function_id, (function_id, b""))
        return self.definitions[function_id], parameters

    def FunctionPrecreate(self, request):
        function_id = request.existing_function_id or self.new_id("fu")
        function = pb.Function(
            function_name=request.function_name,
            function_type=request.function_type,
            function_schema=request.function_schema,
        )
        for name, method in request.method_definitions.items():
            function.method_definitions[name].CopyFrom(method)
        return pb.FunctionPrecreateResponse(
            function_id=function_id, handle_metadata=self._metadata(function_id, function)
        )

    def FunctionCreate(self, request):
        function_id = request.existing_function_id or self.new_id("fu")
        ranked = [each.function for each in request.function_data.ranked_functions]
        function = ranked[0] if ranked else request.function
        gpus = [each.resources.gpu_config for each in ranked or [function]]
        refuse(function, gpus)
        self.definitions[function_id] = function
        self.choices[function_id] = [gpu_as_written(gpu) for gpu in gpus if gpu.gpu_type]
        data = pb.FunctionData()
        data.CopyFrom(request.function_data)
        if not ranked:  # the client wants them in the answer in either case
            data.ranked_functions.add(rank=0, function=function)
            data.function_name, data.timeout_secs = function.function_name, function.timeout_secs
        return pb.FunctionCreateResponse(
            function_id=function_id,
            function=function,
            function_data=data,
            handle_metadata=self._metadata(function_id, function),
        )

    def ClassCreate(self, request):
        return pb.ClassCreateResponse(class_id=self.new_id("cs"), handle_metadata=pb.ClassHandleMetadata())

    def FunctionBindParams(self, request):
        instance = self.new_id("fu")
        self.instances[instance] = request.function_id, request.serialized_params
        metadata = self._metadata(request.function_id, self.definitions[request.function_id])
        return pb.FunctionBindParamsResponse(bound_function_id=instance, handle_metadata=metadata)

    def _metadata(self, function_id, function):
        methods = {
            name: pb.FunctionHandleMetadata(
                function_name=method.function_name,
                function_type=method.function_type,
                function_schema=method.function_schema,
                use_method_name=name,
                is_method=True,
                definition_id=f"de-{function_id}",
                supported_input_formats=_FORMATS,
                supported_output_formats=_FORMATS,
            )
            for name, method in function.method_definitions.items()
        }
        return pb.FunctionHandleMetadata(
            function_name=function.function_name,
            function_type=function.function_type,
            function_schema=function.function_schema,
            class_parameter_info=function.class_parameter_info,
            method_handle_metadata=methods,
            definition_id=f"de-{function_id}",
            supported_input_formats=_FORMATS,
            supported_output_formats=_FORMATS,
        )
