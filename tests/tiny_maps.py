"""The tiny acoustic maps: a square room of 4 x 4 x 2.5 m, seen from its middle in steps of a quarter turn.

Absorption is what the picture says: its grey, 0 to 1, times BANDS. Confidence is 0.75 where the picture has sound, else
0.5; reflection is half of what absorption leaves, scattering 0.25 and impedance 2 - 1j everywhere. Every picture is 90
degrees wide, so that four of them see all walls.
"""

BANDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
HALF_WIDTH_M, HALF_HEIGHT_M = 2.0, 1.25

GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
maps (uint8[B, S, H, W, 3] images, float[B, S, 256] audio_features, bool[B, S] audio_valid) =>
    (float[B, S, H, W, 8] absorption, float[B, S, H, W, 1] reflection, float[B, S, H, W, 1] scattering,
     float[B, S, H, W, 2] impedance, float[B, S, H, W] acoustic_conf, float[B, S, H, W, 1] depth_map,
     float[B, S, H, W] depth_conf, float[B, S, H, W, 3] world_points, float[B, S, H, W] world_points_conf,
     float[B, S, 9] pose_enc, float[B, S] pose_conf) {
    last = Constant<value = int64[1] {-1}>()
    one = Constant<value = float {1.0}>()
    half = Constant<value = float {0.5}>()
    zero_int = Constant<value = int64 {0}>()
    one_int = Constant<value = int64 {1}>()

    pixels = Cast<to = 1>(images)
    level = ReduceMean<keepdims = 1>(pixels, last)
    white = Constant<value = float {255.0}>()
    grey = Div(level, white)
    bands = Constant<value = float[8] {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}>()
    absorption = Mul(grey, bands)
    most = ReduceMax<keepdims = 1>(absorption, last)
    left_over = Sub(one, most)
    reflection = Mul(left_over, half)

    like = Sub(grey, grey)
    quarter = Constant<value = float {0.25}>()
    scattering = Add(like, quarter)
    z = Constant<value = float[2] {2.0, -1.0}>()
    impedance = Add(like, z)
    flat = Squeeze(like, last)
    heard = Constant<value = float {0.75}>()
    sound = Where(audio_valid, heard, half)
    inner = Constant<value = int64[2] {2, 3}>()
    sound_of_view = Unsqueeze(sound, inner)
    acoustic_conf = Add(flat, sound_of_view)

    shape = Shape(images)
    index_s = Constant<value = int64 {1}>()
    index_h = Constant<value = int64 {2}>()
    index_w = Constant<value = int64 {3}>()
    views = Gather(shape, index_s)
    rows = Gather(shape, index_h)
    columns = Gather(shape, index_w)
    height = Cast<to = 1>(rows)
    width = Cast<to = 1>(columns)
    half_width = Mul(width, half)
    half_height = Mul(height, half)
    column_index = Range(zero_int, columns, one_int)
    column = Cast<to = 1>(column_index)
    column_centre = Add(column, half)
    from_middle_x = Sub(column_centre, half_width)
    u = Div(from_middle_x, half_width)
    row_index = Range(zero_int, rows, one_int)
    row = Cast<to = 1>(row_index)
    row_centre = Add(row, half)
    from_middle_y = Sub(row_centre, half_height)
    v_row = Div(from_middle_y, half_width)
    v = Unsqueeze(v_row, last)
    slope = Abs(v)
    room_half_height = Constant<value = float {1.25}>()
    room_half_width = Constant<value = float {2.0}>()
    to_floor = Div(room_half_height, slope)
    z_rows = Min(to_floor, room_half_width)
    z_map = Add(flat, z_rows)
    depth_map = Unsqueeze(z_map, last)
    depth_conf = Add(flat, room_half_width)
    world_points_conf = Add(flat, room_half_width)

    x_map = Mul(z_map, u)
    y_map = Mul(z_map, v)
    view_index = Range(zero_int, views, one_int)
    view = Cast<to = 1>(view_index)
    right_angle = Constant<value = float {1.5707963267948966}>()
    turn = Mul(view, right_angle)
    image_axes = Constant<value = int64[2] {1, 2}>()
    turn_of_view = Unsqueeze(turn, image_axes)
    cos = Cos(turn_of_view)
    sin = Sin(turn_of_view)
    x_cos = Mul(x_map, cos)
    z_sin = Mul(z_map, sin)
    x_world = Add(x_cos, z_sin)
    z_cos = Mul(z_map, cos)
    x_sin = Mul(x_map, sin)
    z_world = Sub(z_cos, x_sin)
    x_last = Unsqueeze(x_world, last)
    y_last = Unsqueeze(y_map, last)
    z_last = Unsqueeze(z_world, last)
    world_points = Concat<axis = -1>(x_last, y_last, z_last)

    half_turn = Mul(turn, half)
    negative = Neg(half_turn)
    qy = Sin(negative)
    qw = Cos(half_turn)
    aspect = Div(height, width)
    half_fov_h = Atan(aspect)
    two = Constant<value = float {2.0}>()
    fov_h = Mul(half_fov_h, two)
    nothing = Sub(qy, qy)
    fov_h_of_view = Add(nothing, fov_h)
    fov_w_of_view = Add(nothing, right_angle)
    column_axis = Constant<value = int64[1] {1}>()
    c0 = Unsqueeze(nothing, column_axis)
    c4 = Unsqueeze(qy, column_axis)
    c6 = Unsqueeze(qw, column_axis)
    c7 = Unsqueeze(fov_h_of_view, column_axis)
    c8 = Unsqueeze(fov_w_of_view, column_axis)
    pose = Concat<axis = 1>(c0, c0, c0, c0, c4, c0, c6, c7, c8)
    per_view = Unsqueeze(sound, last)
    still = Sub(per_view, per_view)
    pose_enc = Add(still, pose)
    nowhere = Sub(sound, sound)
    pose_conf = Add(nowhere, white)
}
"""

INPUTS = [
    ("images", "UINT8", "-1, -1, -1, 3"),
    ("audio_features", "FP32", "-1, 256"),
    ("audio_valid", "BOOL", "-1"),
]
OUTPUTS = [
    ("absorption", "FP32", "-1, -1, -1, 8"),
    ("reflection", "FP32", "-1, -1, -1, 1"),
    ("scattering", "FP32", "-1, -1, -1, 1"),
    ("impedance", "FP32", "-1, -1, -1, 2"),
    ("acoustic_conf", "FP32", "-1, -1, -1"),
    ("depth_map", "FP32", "-1, -1, -1, 1"),
    ("depth_conf", "FP32", "-1, -1, -1"),
    ("world_points", "FP32", "-1, -1, -1, 3"),
    ("world_points_conf", "FP32", "-1, -1, -1"),
    ("pose_enc", "FP32", "-1, 9"),
    ("pose_conf", "FP32", "-1"),
]
PARAMETERS = {
    "image_size": 224,
    "patch_size": 14,
    "bands_hz": "125 250 500 1000 2000 4000 8000 16000",
    "sample_rate": 48000,
    "n_fft": 2048,
    "hop_length": 512,
    "n_mels": 128,
    "audio_feature": "log_mel",
    "audio_feature_dim": 256,
    "audio_window_s": 1.0,
    "metric": "true",
    "max_views": 16,
    "preset": "tiny",
}
